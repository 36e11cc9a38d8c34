"""Accuracy: the share of rows whose label is predicted right; also micro-F1."""

from collections.abc import Callable

import numpy as np

from pipeline.ensemble.forms import ConfusionMetric, ratio

FORMS = ("class",)
BOUNDS = (0, 1)
NEEDED_ERRORS = 1.0  # the likeliest label is right for it already


def build(*, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray]) -> ConfusionMetric:
    """Return the metric, in [0, 1]."""
    return ConfusionMetric(n_outputs, decide, accuracy_of_confusion)


def accuracy_of_confusion(counts: np.ndarray) -> np.ndarray:
    """Return accuracies (...) of counts (..., C, C).

    >>> float(accuracy_of_confusion(np.array([[3.0, 1.0], [0.0, 4.0]])))
    0.875
    """
    return ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))
