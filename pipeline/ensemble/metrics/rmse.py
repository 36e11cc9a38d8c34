"""Root mean squared error over all known numbers, of all columns together; lower is better."""

import numpy as np

from pipeline.ensemble.forms import ProbabilityMetric
from pipeline.ensemble.number_scores import quotient, sums_of_known

FORMS = ("number",)
BOUNDS = (0, None)


def build() -> ProbabilityMetric:
    """Return the metric, >= 0, in the targets' units."""
    return ProbabilityMetric(rmse_of_weights, higher_is_better=False)


def rmse_of_weights(targets: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return errors (R,) of values (N, V) under row weights (R, N).

    >>> rmse_of_weights(np.array([[1.0], [2.0]]), np.array([[1.0], [4.0]]), np.array([[1.0, 1.0]])).round(4)
    array([1.4142])
    """
    sums, known = sums_of_known(targets, values, weights, error=np.square)
    return np.sqrt(quotient(sums.sum(axis=1), known.sum(axis=1)))
