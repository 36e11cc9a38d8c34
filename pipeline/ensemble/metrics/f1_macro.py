"""Macro F1: the plain mean of all labels' F1; a label that neither occurs nor is predicted counts as 0."""

from collections.abc import Callable

import numpy as np

from pipeline.ensemble.forms import LabelMetric, counts_of_confusion, ratio

FORMS = ("class", "multilabel")
BOUNDS = (0, 1)


def build(*, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray]) -> LabelMetric:
    """Return the metric, in [0, 1]; the mean is over the fixed label list, not over the labels that occur."""
    return LabelMetric(n_outputs, decide, from_counts=lambda *counts: f1_of_counts(*counts).mean(axis=-1))


def f1_of_counts(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return F1 (...) of how many rows rightly are given, have, and are given a label (...), 0 where none has or is."""
    return ratio(2 * right, true + predicted)


def f1_of_confusion(counts: np.ndarray) -> np.ndarray:
    """Return the F1 of every label, shape (..., C), for counts (..., C, C).

    It is 0 where a label neither occurs nor is predicted.

    >>> f1_of_confusion(np.array([[3.0, 1.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.0]])).round(3).tolist()
    [0.857, 0.889, 0.0]
    """
    return f1_of_counts(*counts_of_confusion(counts))
