"""TF-IDF of words and characters with multinomial logistic regression: seconds to fit, and hard to beat on small data.

Where a row may have several labels, each has a regression of its own over the same n-grams.

Source: Wang and Manning, Baselines and Bigrams, 2012, https://aclanthology.org/P12-2018 (bag of n-grams, linear model).
Differs from it: TF-IDF in place of naive Bayes ratios; character n-grams, which also serve languages written without
blanks; for pairs, how far the two texts overlap.
"""

import warnings
from contextlib import suppress
from typing import Literal

import numpy as np
import pandas as pd
import regex
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from threadpoolctl import threadpool_limits

from pipeline.contracts import Baseline
from pipeline.ranges import PositiveFloat, PositiveInt

FORMS = ("class", "multilabel")
COLUMNS = ("text", "text_pair")
RUNS = regex.compile(
    r"[\w\p{No}]+"
)  # of letters with their marks and joiners, digits and `_`: Python's re would cut at marks
ABSENT = 1e-6
"""Probability of a label that no training row had: small enough not to matter, finite once its logarithm is taken."""
FIRST_OF_PAIR = 0.3
"""Weight of the first text's n-grams in a pair. Such texts recur in several rows, so their n-grams invite learning by
heart: on Chinese natural-language inference (8,000 rows) accuracy was 0.47 at weight 1 and 0.52 at 0.3."""


def build(
    *,
    n_outputs: int,
    seed: int,
    C: PositiveFloat = 3.0,
    max_features: PositiveInt = 50_000,
    max_iterations: PositiveInt = 100,
    class_weight: Literal["balanced"] | None = None,
) -> Baseline:
    """Return the baseline; `max_features` limits each vocabulary, the commonest n-grams first.

    `class_weight: balanced` helps macro-F1 on rare labels and makes the probabilities too even.
    """
    # lbfgs is deterministic; the seed is handed on for the day another solver is chosen.
    model = LogisticRegression(C=C, max_iter=max_iterations, class_weight=class_weight, random_state=seed)
    return TfidfLogistic(model, n_outputs=n_outputs, max_features=max_features)


class TfidfLogistic:
    """A linear model over n-grams; text and text_pair have vocabularies of their own."""

    def __init__(self, model: LogisticRegression | OneVsRestClassifier, *, n_outputs: int, max_features: int) -> None:
        self.model, self.n_outputs, self.max_features = model, n_outputs, max_features
        self.vectorizers: dict[str, list[TfidfVectorizer]] = {}
        self.present, self.several = np.empty(0, dtype=np.int64), False

    def fit(self, rows: pd.DataFrame, labels: np.ndarray) -> None:
        """Fit on rows with `text` and `text_pair` (null where there is no pair) and labels, int (N,) or 0 and 1 (N, C)."""
        self.several = labels.ndim == 2
        self.present = np.arange(labels.shape[1]) if self.several else np.unique(labels)
        if len(self.present) < 2:
            return
        columns = [column for column in COLUMNS if rows[column].notna().any()]
        self.vectorizers = {column: self._fit_vectorizers(_texts(rows, column)) for column in columns}
        with threadpool_limits(1), warnings.catch_warnings():
            # Stopping before convergence is a choice here: 50 steps more moved macro-F1 by less than 0.005.
            warnings.simplefilter("ignore", ConvergenceWarning)
            if self.several:
                # A label that no training row has, or all have, is said of every row.
                warnings.filterwarnings("ignore", "Label .* is present in all training examples")
                self.model = OneVsRestClassifier(self.model)
            self.model.fit(self._features(rows), labels)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Return probabilities above 0, a float64 array (N, C); they sum to 1 where each row has one label."""
        probabilities = np.zeros((len(rows), self.n_outputs))
        if len(rows) and len(self.present) > 1:
            with threadpool_limits(1):
                probabilities[:, self.present] = self.model.predict_proba(self._features(rows))
        else:
            probabilities[:, self.present] = 1.0
        if self.several:
            return probabilities.clip(ABSENT, 1 - ABSENT)
        probabilities = np.maximum(probabilities, ABSENT)
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def _fit_vectorizers(self, texts: list[str]) -> list[TfidfVectorizer]:
        word = {"ngram_range": (1, 2), "tokenizer": RUNS.findall, "token_pattern": None}
        char = {"analyzer": "char", "ngram_range": (1, 4)}
        fitted = []
        for options in (word, char):
            # On tiny data no n-gram stands twice; where there is not even one, the view is left out.
            for min_df in (2, 1):
                vectorizer = TfidfVectorizer(
                    **options, min_df=min_df, sublinear_tf=True, max_features=self.max_features, dtype=np.float32
                )
                with suppress(ValueError):
                    fitted.append(vectorizer.fit(texts))
                    break
        return fitted

    def _features(self, rows: pd.DataFrame) -> sparse.csr_matrix:
        blocks = [sparse.csr_matrix(np.log1p([[len(text)] for text in _texts(rows, "text")]) / 10)]
        for column, vectorizers in self.vectorizers.items():
            weight = FIRST_OF_PAIR if column == "text" and "text_pair" in self.vectorizers else 1.0
            blocks += [weight * vectorizer.transform(_texts(rows, column)) for vectorizer in vectorizers]
        if "text_pair" in self.vectorizers:
            blocks.append(sparse.csr_matrix(self._overlap(rows)))
        return sparse.hstack(blocks, format="csr")

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
