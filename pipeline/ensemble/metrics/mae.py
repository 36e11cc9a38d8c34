"""Mean absolute error over all known numbers, of all columns together; lower is better."""

import numpy as np

from pipeline.ensemble.forms import ProbabilityMetric
from pipeline.ensemble.number_scores import quotient, sums_of_known

FORMS = ("number",)
BOUNDS = (0, None)


def build() -> ProbabilityMetric:
    """Return the metric, >= 0, in the targets' units."""
    return ProbabilityMetric(mae_of_weights, higher_is_better=False)


def mae_of_weights(targets: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return errors (R,) of values (N, V) under row weights (R, N).

    >>> mae_of_weights(np.array([[1.0], [2.0]]), np.array([[1.0], [4.0]]), np.array([[1.0, 3.0]]))
    array([1.5])
    """
    sums, known = sums_of_known(targets, values, weights, error=np.abs)
    return quotient(sums.sum(axis=1), known.sum(axis=1))
