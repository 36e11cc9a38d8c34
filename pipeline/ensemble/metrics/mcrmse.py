"""Mean column-wise root mean squared error; lower is better."""

import numpy as np

from pipeline.ensemble.forms import ProbabilityMetric
from pipeline.ensemble.number_scores import over_columns, quotient, sums_of_known

FORMS = ("number",)
BOUNDS = (0, None)


def build() -> ProbabilityMetric:
    """Return the metric, >= 0; of a single column it is the root mean squared error."""
    return ProbabilityMetric(mcrmse_of_weights, higher_is_better=False)


def mcrmse_of_weights(targets: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return errors (R,) of values (N, V) under row weights (R, N).

    >>> mcrmse_of_weights(np.array([[1.0, 0.0]]), np.array([[2.0, 3.0]]), np.ones((1, 1)))
    array([2.])
    """
    return over_columns(np.sqrt(quotient(*sums_of_known(targets, values, weights, error=np.square))))
