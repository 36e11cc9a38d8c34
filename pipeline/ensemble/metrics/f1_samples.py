"""F1 of each row's labels, the mean over rows; as scikit-learn has it, a row that has and is given none counts as 0."""

from collections.abc import Callable
from functools import partial

import numpy as np

from pipeline.ensemble.forms import RowMetric
from pipeline.ranges import Probability

FORMS = ("multilabel",)
BOUNDS = (0, 1)


def build(*, decide: Callable[[np.ndarray], np.ndarray], of_none: Probability = 0.0) -> RowMetric:
    """Return the metric, in [0, 1]; `of_none` is the F1 of a row that has no label and is given none."""
    return RowMetric(decide, partial(f1_of_rows, of_none=of_none))


def f1_of_rows(labels: np.ndarray, decided: np.ndarray, *, of_none: float = 0.0) -> np.ndarray:
    """Return F1 (N,) of rows that have and are given labels, both 0 or 1 (N, C).

    >>> f1_of_rows(np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 0]]), of_none=1.0).round(3).tolist()
    [0.667, 1.0]
    """
    both = labels.sum(axis=1, dtype=np.int64) + decided.sum(axis=1, dtype=np.int64)
    right = 2.0 * (labels & decided).sum(axis=1, dtype=np.int64)
    return np.divide(right, both, out=np.full(len(labels), of_none), where=both > 0)
