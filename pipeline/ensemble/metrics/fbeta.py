"""F-beta: F1 in which recall counts `beta` times as much as precision.

Source: van Rijsbergen, Information Retrieval, 1979, ch. 7: (1 + b^2) P R / (b^2 P + R), and so of counts
(1 + b^2) right / (b^2 true + predicted).
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np

from pipeline.ensemble.forms import LabelMetric, ratio
from pipeline.errors.exceptions import ParamsError
from pipeline.ranges import PositiveFloat

FORMS = ("class", "multilabel")
BOUNDS = (0, 1)
N_LABELS = {"binary": 2}
ORDER = {"binary": "the positive one last"}
NEEDED_ERRORS = {"micro": 1.0}  # of one label per row it is accuracy


def build(
    *, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray], beta: PositiveFloat = 2.0,
    average: Literal["macro", "micro", "weighted", "binary"] = "macro",
) -> LabelMetric:  # fmt: skip
    """Return the metric, in [0, 1].

    Args:
        n_outputs: number of labels C.
        decide: see `TaskKind.decide`.
        beta: how much more recall counts than precision; 1 is F1.
        average: the mean of all labels' values (weighted: by how often each is the true one), one value of all labels
            together, or that of the second of two labels.

    Raises:
        ParamsError: if `average` is binary and there are not exactly two labels.
    """
    if average == "binary" and n_outputs != N_LABELS["binary"]:
        raise ParamsError(f"metric fbeta: average binary needs two labels, got {n_outputs}. Use macro or weighted.")
    return LabelMetric(n_outputs, decide, from_counts=partial(fbeta_of_counts, beta=beta, average=average))


def fbeta_of_counts(
    right: np.ndarray, true: np.ndarray, predicted: np.ndarray, *, beta: float, average: str
) -> np.ndarray:
    """Return F-beta (...) of how many rows rightly are given, have, and are given each label (..., C).

    >>> counts = np.array([3.0, 1.0]), np.array([4.0, 1.0]), np.array([3.0, 2.0])
    >>> [round(float(fbeta_of_counts(*counts, beta=2.0, average=average)), 4) for average in ("macro", "micro", "binary")]
    [0.8114, 0.8, 0.8333]
    """
    if average == "micro":
        right, true, predicted = (part.sum(axis=-1, keepdims=True) for part in (right, true, predicted))
    values = ratio((1 + beta**2) * right, beta**2 * true + predicted)
    if average == "weighted":
        return ratio((values * true).sum(axis=-1), true.sum(axis=-1))
    result: np.ndarray = values[..., -1] if average == "binary" else values.mean(axis=-1)
    return result
