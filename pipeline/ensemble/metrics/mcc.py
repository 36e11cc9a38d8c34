"""Matthews correlation coefficient for several classes; 0 where it is not defined.

Source: Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004, eq. 8.
"""

from collections.abc import Callable

import numpy as np

from pipeline.ensemble.forms import ConfusionMetric, ratio

FORMS = ("class",)
BOUNDS = (-1, 1)


def build(*, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray]) -> ConfusionMetric:
    """Return the metric, in [-1, 1]."""
    return ConfusionMetric(n_outputs, decide, mcc_of_confusion)


def mcc_of_confusion(counts: np.ndarray) -> np.ndarray:
    """Return coefficients (...) of counts (..., C, C).

    >>> round(float(mcc_of_confusion(np.array([[3.0, 1.0], [0.0, 4.0]]))), 4)
    0.7746
    """
    true, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    total, right = counts.sum(axis=(-2, -1)), np.trace(counts, axis1=-2, axis2=-1)
    covariance = right * total - (true * predicted).sum(axis=-1)
    variances = (total**2 - (true**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return ratio(covariance, np.sqrt(variances.clip(min=0)))
