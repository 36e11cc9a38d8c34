"""Mean word vectors, rare words weighing more, with multinomial logistic regression: what a text's words mean, in any order.

Source: Arora, Liang and Ma, A Simple but Tough-to-Beat Baseline for Sentence Embeddings, 2017 (SIF), algorithm 1,
https://openreview.net/forum?id=SyK00v5xx
Differs from the paper: words are counted in the rows that are fitted, not in a large corpus; features are standardised. A
pair has both texts' embeddings, their absolute difference and their product, as in Tai et al., 2015, section 4.2,
https://arxiv.org/abs/1503.00075
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from pipeline.base_models.baselines.tfidf_logistic import TfidfLogistic
from pipeline.contracts import Baseline
from pipeline.errors.exceptions import ParamsError
from pipeline.ranges import Name, NotNegativeInt, PositiveFloat, PositiveInt
from pipeline.text.vector_files import read_vectors
from pipeline.text.words import SPECIAL, UNKNOWN, Kind, WordTokenizer, kind_of_words, word_forms, word_spans

FORMS = ("class", "multilabel")
FILES = ("path",)
LIBRARIES = ("jieba",)  # its version stands in the recipe


def build(
    *,
    n_outputs: int,
    seed: int,
    path: Name = "",
    words: Literal["auto", "jieba", "blank", "character"] = "auto",
    max_words: PositiveInt = 50_000,
    smoothing: PositiveFloat = 1e-3,
    n_removed: NotNegativeInt = 1,
    C: PositiveFloat = 1.0,
    max_iterations: PositiveInt = 200,
    class_weight: Literal["balanced"] | None = None,
) -> Baseline:
    """Return the baseline.

    Args:
        n_outputs: labels.
        seed: handed on, as in `tfidf_logistic`.
        path: a text file of word2vec or GloVe in models/, also `.gz`.
        words: how texts are cut, see the encoder `word_vectors`.
        max_words: at most so many words of the file besides those of the texts.
        smoothing: the paper's a: a word that is the share p of all words weighs a / (a + p).
        n_removed: so many main directions of the embeddings, which say little of any text, are taken out of them.
        C: inverse of the penalty on the regression's weights.
        max_iterations: at most so many.
        class_weight: balanced helps macro-F1 on rare labels and makes the probabilities too even.
    """
    model = LogisticRegression(C=C, max_iter=max_iterations, class_weight=class_weight, random_state=seed)
    kind = None if words == "auto" else words
    embeddings = SentenceEmbeddings(path, kind, max_words=max_words, smoothing=smoothing, n_removed=n_removed)
    return SifLogistic(model, embeddings, n_outputs=n_outputs)


class SifLogistic(TfidfLogistic):
    """The linear model of n-grams, over sentence embeddings in their place."""

    features: Any

    def __init__(self, model: LogisticRegression, features: "SentenceEmbeddings", *, n_outputs: int) -> None:
        super().__init__(model, n_outputs=n_outputs, max_features=1)
        self.features = features


class SentenceEmbeddings:
    """Weighted means of word vectors (D,) without their main directions; of a text without known words zeros."""

    def __init__(self, path: str, kind: Kind | None, *, max_words: int, smoothing: float, n_removed: int) -> None:
        self.path, self.kind, self.max_words = path, kind, max_words
        self.smoothing, self.n_removed, self.paired = smoothing, n_removed, False
        self.tokenizer = WordTokenizer([], "blank")
        self.vectors, self.directions = np.empty((0, 0)), np.empty((0, 0))
        self.mean, self.scale = np.zeros(1), np.ones(1)

    def fit(self, rows: pd.DataFrame) -> "SentenceEmbeddings":
        """Learn weights, main directions and scales from rows with `text` and `text_pair` (null where there is no pair).

        Raises:
            ParamsError: if the file cannot be read, is broken, or knows no word of the texts.
        """
        self.paired = bool(rows["text_pair"].notna().any())
        texts = [text for column in self._columns() for text in _texts(rows, column)]
        kind = self.kind or kind_of_words(texts)
        words = {text[start:end] for text in texts for start, end in word_spans(text, kind)}
        wanted = {form for word in words for form in (*word_forms(word), *word)}
        vectors = read_vectors(Path(self.path), wanted=wanted, n_more=self.max_words)
        self.tokenizer = WordTokenizer(list(vectors), kind)
        counts = Counter(place for text in texts for place in self._places(text))
        if not vectors or (words and not counts):
            raise ParamsError(
                f"{self.path}: must know words of the texts, got none of {len(words)}. Take vectors of their language."
            )
        share = np.array([counts[place] for place in range(len(vectors))]) / max(counts.total(), 1)
        weights = self.smoothing / (self.smoothing + share)
        self.vectors = (np.stack(list(vectors.values())) * weights[:, None]).astype(np.float32)
        means = self._means(texts)
        _, directions = np.linalg.eigh(means.T @ means)  # the least first
        self.directions = directions[:, len(directions) - min(self.n_removed, len(directions)) :]
        self.mean, self.scale = np.zeros(1), np.ones(1)
        features = self.transform(rows)
        deviation = features.std(axis=0)
        self.mean, self.scale = features.mean(axis=0), np.where(deviation > 0, deviation, 1.0)
        return self

    def transform(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the features of rows, float64 (N, D), of pairs (N, 4 D)."""
        sides = []
        for column in self._columns():
            means = self._means(_texts(rows, column))
            sides.append(means - means @ self.directions @ self.directions.T)
        if self.paired:
            first, second = sides
            sides += [np.abs(first - second), first * second]
        return (np.hstack(sides) - self.mean) / self.scale

    def _columns(self) -> Sequence[str]:
        return ("text", "text_pair") if self.paired else ("text",)

    def _places(self, text: str) -> list[int]:
        return [token - len(SPECIAL) for token, _ in self.tokenizer.tokens(text) if token != UNKNOWN]

    def _means(self, texts: list[str]) -> np.ndarray:
        means = np.zeros((len(texts), self.vectors.shape[1]))
        for row, places in enumerate(map(self._places, texts)):
            if places:
                means[row] = self.vectors[places].mean(axis=0, dtype=np.float64)
        return means

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the words and how texts are cut, and their weighted vectors with what is taken out and the scales."""
        fitted = {"paired": self.paired, "words": self.tokenizer.kind, "vocabulary": self.tokenizer.vocabulary}
        names = ("vectors", "directions", "mean", "scale")
        return fitted, {name: getattr(self, name) for name in names}

    def load_state(self, fitted: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take what `state` returned."""
        self.paired, self.tokenizer = fitted["paired"], WordTokenizer(fitted["vocabulary"], fitted["words"])
        self.vectors, self.directions, self.mean, self.scale = (
            arrays[name] for name in ("vectors", "directions", "mean", "scale")
        )


def _texts(rows: pd.DataFrame, column: str) -> list[str]:
    return rows[column].fillna("").astype(str).tolist()
