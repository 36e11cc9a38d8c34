"""Micro F1: the F1 of all labels together, every (row, label) counting the same; of one label per row it is accuracy."""

from collections.abc import Callable

import numpy as np

from pipeline.ensemble.forms import LabelMetric
from pipeline.ensemble.metrics.f1_macro import f1_of_counts

FORMS = ("multilabel",)
BOUNDS = (0, 1)


def build(*, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray]) -> LabelMetric:
    """Return the metric, in [0, 1]."""
    return LabelMetric(n_outputs, decide, from_counts=micro_f1_of_counts)


def micro_f1_of_counts(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return micro F1 (...) of how many rows rightly are given, have, and are given each label (..., C).

    >>> float(micro_f1_of_counts(np.array([3.0, 0.0]), np.array([4.0, 1.0]), np.array([3.0, 0.0])))
    0.75
    """
    return f1_of_counts(*(part.sum(axis=-1) for part in (right, true, predicted)))
