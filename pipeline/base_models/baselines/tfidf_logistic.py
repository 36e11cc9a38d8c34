"""TF-IDF of words and characters with multinomial logistic regression: seconds to fit, and hard to beat on small data.

Where a row may have several labels, each has a regression of its own over the same n-grams.

Source: see `ngram_features`.
"""

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from threadpoolctl import threadpool_limits

from pipeline.base_models.ngram_features import NgramFeatures
from pipeline.contracts import Baseline
from pipeline.ranges import PositiveFloat, PositiveInt

FORMS = ("class", "multilabel")
ABSENT = 1e-6
"""Probability of a label that no training row had: small enough not to matter, finite once its logarithm is taken."""


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
    """A linear model over n-grams: `weights` (L, F) and `intercepts` (L,) of labels, of two in one row only the second's."""

    def __init__(self, model: LogisticRegression | OneVsRestClassifier, *, n_outputs: int, max_features: int) -> None:
        self.model, self.n_outputs, self.features = model, n_outputs, NgramFeatures(max_features=max_features)
        self.present, self.several = np.empty(0, dtype=np.int64), False
        self.weights, self.intercepts = np.empty((0, 0)), np.empty(0)

    def fit(self, rows: pd.DataFrame, labels: np.ndarray) -> None:
        """Fit on rows with `text` and `text_pair` (null where there is no pair) and labels, int (N,) or 0 and 1 (N, C)."""
        self.several = labels.ndim == 2
        self.present = np.arange(labels.shape[1]) if self.several else np.unique(labels)
        if len(self.present) < 2:
            return
        self.features.fit(rows)
        with threadpool_limits(1), warnings.catch_warnings():
            # Stopping before convergence is a choice here: 50 steps more moved macro-F1 by less than 0.005.
            warnings.simplefilter("ignore", ConvergenceWarning)
            if self.several:
                # A label that no training row has, or all have, is said of every row.
                warnings.filterwarnings("ignore", "Label .* is present in all training examples")
                self.model = OneVsRestClassifier(self.model)
            features = self.features.transform(rows)
            self.model.fit(features, labels)
        if not self.several:
            self.weights, self.intercepts = self.model.coef_, self.model.intercept_
            return
        self.weights, self.intercepts = np.zeros((self.n_outputs, features.shape[1])), np.zeros(self.n_outputs)
        for number, part in enumerate(self.model.estimators_):
            if isinstance(part, LogisticRegression):
                self.weights[number], self.intercepts[number] = part.coef_[0], part.intercept_[0]
            else:  # of a label that all rows have, or none has
                self.intercepts[number] = np.inf if part.y_[0] else -np.inf

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Return probabilities above 0, a float64 array (N, C); they sum to 1 where each row has one label."""
        probabilities = np.zeros((len(rows), self.n_outputs))
        if len(rows) and len(self.present) > 1:
            with threadpool_limits(1):
                scores = self.features.transform(rows) @ self.weights.T + self.intercepts
            probabilities[:, self.present] = self._link(scores)
        else:
            probabilities[:, self.present] = 1.0
        if self.several:
            return probabilities.clip(ABSENT, 1 - ABSENT)
        probabilities = np.maximum(probabilities, ABSENT)
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def _link(self, scores: np.ndarray) -> np.ndarray:
        if self.several:
            return np.asarray(expit(scores))
        return np.asarray(softmax(scores if scores.shape[1] > 1 else np.hstack([0 * scores, scores]), axis=1))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the n-grams and which labels there are, and the weights."""
        ngrams, arrays = self.features.state()
        fitted = {"ngrams": ngrams, "several": self.several, "present": self.present.tolist()}
        return fitted, {**arrays, "weights": self.weights, "intercepts": self.intercepts}

    def load_state(self, fitted: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take what `state` returned."""
        self.several, self.present = fitted["several"], np.array(fitted["present"], np.int64)
        self.weights, self.intercepts = arrays["weights"], arrays["intercepts"]
        self.features.load_state(fitted["ngrams"], arrays)
