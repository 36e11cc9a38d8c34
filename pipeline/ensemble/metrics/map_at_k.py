"""Mean average precision at k: of one label per row the mean of 1 / its rank among the k likeliest, else 0.

Where a row may have several labels it is the mean, over the first min(k, its labels) of them, of the precision down to each
right one; a row without labels counts as 0.

Source: https://www.kaggle.com/wiki/MeanAveragePrecision. Of equal probabilities the label that is listed first comes first,
as in a submission of `top_k`.
"""

import numpy as np

from pipeline.ensemble.forms import ProbabilityMetric
from pipeline.errors.exceptions import ParamsError
from pipeline.ranges import PositiveInt

FORMS = ("class", "multilabel")
BOUNDS = (0, 1)


def build(*, n_outputs: int, k: PositiveInt = 3) -> ProbabilityMetric:
    """Return the metric, in [0, 1].

    Raises:
        ParamsError: if there are fewer than `k` labels.
    """
    check_k(k, n_outputs, name="map_at_k")
    return ProbabilityMetric(
        lambda *given: of_rows(average_precisions(*given[:2], k=k), given[2]), higher_is_better=True
    )


def check_k(k: int, n_outputs: int, *, name: str) -> None:
    """Refuse to look at more labels than there are.

    Raises:
        ParamsError: if there are fewer than `k`.
    """
    if k > n_outputs:
        raise ParamsError(
            f"metric {name}: k must be at most the number of labels, {n_outputs}, got {k}. Lower it.", code="E203"
        )


def average_precisions(labels: np.ndarray, probabilities: np.ndarray, *, k: int) -> np.ndarray:
    """Return the average precision at k (N,) of labels (N,), or 0 and 1 (N, C), under probabilities (N, C).

    >>> average_precisions(np.array([1, 0]), np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]), k=2).tolist()
    [0.5, 0.0]
    """
    hits, places = hits_among_likeliest(labels, probabilities, k=k), np.arange(1, k + 1)
    n_true = np.ones(len(labels)) if labels.ndim == 1 else labels.sum(axis=1, dtype=np.int64)
    found = (hits * hits.cumsum(axis=1) / places).sum(axis=1)
    precisions: np.ndarray = found / np.clip(n_true, 1, k)
    return precisions


def hits_among_likeliest(labels: np.ndarray, probabilities: np.ndarray, *, k: int) -> np.ndarray:
    """Return whether each of a row's k likeliest labels, likeliest first, is one of its own, bool (N, k)."""
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    if labels.ndim == 1:
        return likeliest == labels[:, None]
    return np.take_along_axis(labels, likeliest, axis=1) > 0


def of_rows(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted means (R,) of the rows' scores (N,) under row weights (R, N)."""
    means: np.ndarray = weights @ scores / weights.sum(axis=1)
    return means
