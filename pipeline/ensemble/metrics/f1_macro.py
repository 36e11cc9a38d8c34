"""Macro F1: the plain mean of all labels' F1; a label that neither occurs nor is predicted counts as 0."""

from collections.abc import Callable

import numpy as np

from pipeline.ensemble.forms import ConfusionMetric, ratio

FORMS = ("class",)
BOUNDS = (0, 1)


def build(*, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray]) -> ConfusionMetric:
    """Return the metric, in [0, 1]; the mean is over the fixed label list, not over the labels that occur."""
    return ConfusionMetric(n_outputs, decide, lambda counts: f1_of_confusion(counts).mean(axis=-1))


def f1_of_confusion(counts: np.ndarray) -> np.ndarray:
    """Return the F1 of every label, shape (..., C), for counts (..., C, C).

    It is 0 where a label neither occurs nor is predicted.

    >>> f1_of_confusion(np.array([[3.0, 1.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.0]])).round(3).tolist()
    [0.857, 0.889, 0.0]
    """
    total = counts.sum(axis=-1) + counts.sum(axis=-2)
    return ratio(2 * np.diagonal(counts, axis1=-2, axis2=-1), total)
