"""Weighted F1: the mean of the labels' F1, weighted by how often each label is the true one."""

from collections.abc import Callable

import numpy as np

from pipeline.ensemble.forms import LabelMetric, counts_of_confusion, ratio
from pipeline.ensemble.metrics.f1_macro import f1_of_counts

FORMS = ("class", "multilabel")
BOUNDS = (0, 1)


def build(*, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray]) -> LabelMetric:
    """Return the metric, in [0, 1]."""
    return LabelMetric(n_outputs, decide, from_counts=weighted_f1_of_counts)


def weighted_f1_of_counts(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return weighted F1 values (...) of how many rows rightly are given, have, and are given each label (..., C)."""
    return ratio((f1_of_counts(right, true, predicted) * true).sum(axis=-1), true.sum(axis=-1))


def weighted_f1_of_confusion(counts: np.ndarray) -> np.ndarray:
    """Return weighted F1 values (...) of counts (..., C, C).

    >>> round(float(weighted_f1_of_confusion(np.array([[3.0, 1.0], [0.0, 4.0]]))), 4)
    0.873
    """
    return weighted_f1_of_counts(*counts_of_confusion(counts))
