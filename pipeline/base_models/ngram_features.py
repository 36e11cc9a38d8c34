"""Texts and pairs to sparse features: TF-IDF of words and characters, length, and for pairs how far the two overlap.

Source: Wang and Manning, Baselines and Bigrams, 2012, https://aclanthology.org/P12-2018 (bag of n-grams, linear model).
Differs from it: TF-IDF in place of naive Bayes ratios; character n-grams, which also serve languages written without
blanks; for pairs, how far the two texts overlap.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import regex
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

COLUMNS = ("text", "text_pair")
RUNS = regex.compile(
    r"[\w\p{No}]+"
)  # of letters with their marks and joiners, digits and `_`: Python's re would cut at marks
VIEWS: dict[str, dict[str, Any]] = {
    "word": {"ngram_range": (1, 2), "tokenizer": RUNS.findall, "token_pattern": None},
    "char": {"analyzer": "char", "ngram_range": (1, 4)},
}
COMMON: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
FIRST_OF_PAIR = 0.3
"""Weight of the first text's n-grams in a pair. Such texts recur in several rows, so their n-grams invite learning by
heart: on Chinese natural-language inference (8,000 rows) accuracy was 0.47 at weight 1 and 0.52 at 0.3."""


class NgramFeatures:
    """N-grams of text and of text_pair, each with a vocabulary of its own; the commonest come first."""

    def __init__(self, *, max_features: int) -> None:
        self.max_features = max_features
        self.vectorizers: dict[str, list[TfidfVectorizer]] = {}

    def fit(self, rows: pd.DataFrame) -> "NgramFeatures":
        """Learn the n-grams of rows with `text` and `text_pair` (null where there is no pair)."""
        columns = [column for column in COLUMNS if rows[column].notna().any()]
        self.vectorizers = {column: self._fit_vectorizers(_texts(rows, column)) for column in columns}
        return self

    def _fit_vectorizers(self, texts: list[str]) -> list[TfidfVectorizer]:
        fitted = []
        for options in VIEWS.values():
            # On tiny data no n-gram stands twice; where there is not even one, the view is left out.
            for min_df in (2, 1):
                vectorizer = TfidfVectorizer(**options, **COMMON, min_df=min_df, max_features=self.max_features)
                with suppress(ValueError):
                    fitted.append(vectorizer.fit(texts))
                    break
        return fitted

    def transform(self, rows: pd.DataFrame) -> sparse.csr_matrix:
        """Return the features of rows, (N, F)."""
        blocks = [sparse.csr_matrix(np.log1p([[len(text)] for text in _texts(rows, "text")]) / 10)]
        for column, vectorizers in self.vectorizers.items():
            weight = FIRST_OF_PAIR if column == "text" and "text_pair" in self.vectorizers else 1.0
            blocks += [weight * vectorizer.transform(_texts(rows, column)) for vectorizer in vectorizers]
        if "text_pair" in self.vectorizers:
            blocks.append(sparse.csr_matrix(self._overlap(rows)))
        return sparse.hstack(blocks, format="csr")

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the views of each column with their n-grams in order, and the weights of these by column and place."""
        fitted = {
            column: [{"view": v.analyzer, "ngrams": v.get_feature_names_out().tolist()} for v in vectorizers]
            for column, vectorizers in self.vectorizers.items()
        }
        places = [(column, place) for column, views in fitted.items() for place in range(len(views))]
        return fitted, {f"{column}.{place}": self.vectorizers[column][place].idf_ for column, place in places}

    def load_state(self, fitted: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take what `state` returned."""
        self.vectorizers = {column: [] for column in fitted}
        for column, views in fitted.items():
            for place, view in enumerate(views):
                vectorizer = TfidfVectorizer(**VIEWS[view["view"]], **COMMON, vocabulary=view["ngrams"])
                vectorizer.idf_ = arrays[f"{column}.{place}"]
                self.vectorizers[column].append(vectorizer)

    def _overlap(self, rows: pd.DataFrame) -> np.ndarray:
        """Return how alike the texts of each pair are, (N, features): cosines, shared characters and words, lengths."""
        first, second = _texts(rows, "text"), _texts(rows, "text_pair")
        columns = []
        for vectorizer in self.vectorizers["text"]:
            left, right = vectorizer.transform(first), vectorizer.transform(second)
            columns.append(np.asarray(left.multiply(right).sum(axis=1)).ravel())
        pairs = list(zip(first, second, strict=True))
        columns += [np.array([_share(set(split(a)), set(split(b))) for a, b in pairs]) for split in (list, str.split)]
        lengths = np.log1p([[len(a), len(b)] for a, b in pairs])
        difference = lengths[:, 0] - lengths[:, 1]
        return np.column_stack([*columns, difference, np.abs(difference)])


def _texts(rows: pd.DataFrame, column: str) -> list[str]:
    return rows[column].fillna("").astype(str).tolist()


def _share(first: set[str], second: set[str]) -> float:
    """Return the Jaccard similarity of two sets; 0 where both are empty."""
    return len(first & second) / max(len(first | second), 1)
