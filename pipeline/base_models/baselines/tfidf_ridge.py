"""TF-IDF of words and characters with ridge regression: a number per column, seconds to fit.

Source: Hoerl and Kennard, Ridge Regression, 1970, https://doi.org/10.1080/00401706.1970.10488634; the features: see
`ngram_features`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from pipeline.base_models.ngram_features import NgramFeatures
from pipeline.contracts import Baseline
from pipeline.ranges import PositiveFloat, PositiveInt

FORMS = ("number",)


def build(*, penalty: PositiveFloat = 1.0, max_features: PositiveInt = 50_000) -> Baseline:
    """Return the baseline; `max_features` limits each vocabulary, the commonest n-grams first."""
    return TfidfRidge(penalty, NgramFeatures(max_features=max_features))


class TfidfRidge:
    """A linear model per column over n-grams."""

    def __init__(self, penalty: float, features: NgramFeatures) -> None:
        self.penalty, self.features = penalty, features
        self.weights, self.intercepts = np.empty((0, 0)), np.empty(0)

    def fit(self, rows: pd.DataFrame, labels: np.ndarray) -> None:
        """Fit on rows with `text` and `text_pair` and numbers (N, V), each column on the rows in which it is known."""
        features = self.features.fit(rows).transform(rows)
        with threadpool_limits(1):
            weights, intercepts = zip(*(self._fitted(features, column) for column in labels.T), strict=True)
        self.weights, self.intercepts = np.stack(weights), np.array(intercepts)

    def _fitted(self, features: sparse.csr_matrix, column: np.ndarray) -> tuple[np.ndarray, float]:
        known = ~np.isnan(column)
        if known.sum() < 2:
            return np.zeros(features.shape[1]), float(column[known].sum())
        model = Ridge(alpha=self.penalty, solver="sparse_cg", tol=1e-6).fit(features[known], column[known])
        return model.coef_, float(model.intercept_)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Return numbers (N, V); of a column in which one was known that one, 0 where none was."""
        if not len(rows):
            return np.empty((0, len(self.weights)))
        with threadpool_limits(1):
            return np.asarray(self.features.transform(rows) @ self.weights.T + self.intercepts)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the n-grams, and the weights (V, F) with the intercepts (V,)."""
        ngrams, arrays = self.features.state()
        return {"ngrams": ngrams}, {**arrays, "weights": self.weights, "intercepts": self.intercepts}

    def load_state(self, fitted: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take what `state` returned."""
        self.weights, self.intercepts = arrays["weights"], arrays["intercepts"]
        self.features.load_state(fitted["ngrams"], arrays)
