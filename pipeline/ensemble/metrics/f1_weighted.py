"""Weighted F1: the mean of the labels' F1, weighted by how often each label is the true one."""

from collections.abc import Callable

import numpy as np

from pipeline.ensemble.forms import ConfusionMetric, ratio
from pipeline.ensemble.metrics.f1_macro import f1_of_confusion

FORMS = ("class",)
BOUNDS = (0, 1)


def build(*, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray]) -> ConfusionMetric:
    """Return the metric, in [0, 1]."""
    return ConfusionMetric(n_outputs, decide, weighted_f1_of_confusion)


def weighted_f1_of_confusion(counts: np.ndarray) -> np.ndarray:
    """Return weighted F1 values (...) of counts (..., C, C).

    >>> round(float(weighted_f1_of_confusion(np.array([[3.0, 1.0], [0.0, 4.0]]))), 4)
    0.873
    """
    support = counts.sum(axis=-1)
    return ratio((f1_of_confusion(counts) * support).sum(axis=-1), support.sum(axis=-1))
