"""Thresholds as are best for a metric of decisions: of each label's probability, or at which an expected label is rounded up.

Source: Lipton et al., Optimal Thresholding of Classifiers to Maximize F1 Measure, 2014, https://arxiv.org/abs/1402.1892
(with true probabilities it is half the best F1, so 0.5 only where a label is easy).
"""

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from pipeline.contracts import Metric

N_STEPS = 30  # from 0.5 to either end
THRESHOLDS = expit(0.15 * np.arange(-N_STEPS, N_STEPS + 1))  # from 0.011 to 0.989
N_SWEEPS = 3
N_PLACES = 40  # of a threshold of expected labels, between one label and the next
MOST_ROUNDS = 10
TIE = 1e-6  # an expected label so little below a threshold lies on it: predictions are stored as float32 logits
MOST_ROWS = 10_000  # on which thresholds are sought for a metric that must look at every row
Scores = Callable[[np.ndarray, int], np.ndarray]


def best_thresholds(targets: np.ndarray, values: np.ndarray, *, fewest: int, metric: Metric) -> np.ndarray:
    """Return the thresholds (C,) that score best: coordinate search over a grid, from 0.5 on.

    A threshold moves only where the score rises, to the nearest of equally good ones; that of a label with fewer than
    `fewest` rows stays. Targets (N, C) are 0 or 1, values (N, C) probabilities.
    """
    places = np.full(values.shape[1], N_STEPS)
    scores_along = (_by_counts if metric.of_counts else _by_rows)(targets, values, metric)
    for _ in range(N_SWEEPS):
        before = places.copy()
        for label in np.flatnonzero(targets.sum(axis=0, dtype=np.int64) >= fewest):
            scores = np.nan_to_num(metric.sign * scores_along(places, int(label)), nan=-np.inf)
            best = np.flatnonzero(scores >= scores.max() - 1e-12)
            places[label] = best[np.argmin(np.abs(best - places[label]))]
        if np.array_equal(before, places):
            break
    thresholds: np.ndarray = THRESHOLDS[places]
    return thresholds


def _by_counts(targets: np.ndarray, values: np.ndarray, metric: Metric) -> Scores:
    """Return what scores every threshold of one label (G,), those of the others being at their places (C,) in the grid.

    Rows that are right, missed and wrongly given stand, for each label, as one weighted row each with that label alone.
    """
    n_labels = values.shape[1]
    alone, nothing = np.eye(n_labels, dtype=np.int8), np.zeros((n_labels, n_labels), np.int8)
    true, said = np.vstack([alone, alone, nothing]), np.vstack([alone, nothing, alone]).astype(np.float64)
    counts = np.zeros((len(THRESHOLDS), 3, n_labels))
    for label in range(n_labels):
        apart = (np.sort(values[targets[:, label] == is_true, label]) for is_true in (1, 0))
        right, wrong = (len(part) - np.searchsorted(part, THRESHOLDS) for part in apart)
        counts[:, :, label] = np.stack([right, targets[:, label].sum(dtype=np.int64) - right, wrong], axis=1)

    def scores(places: np.ndarray, label: int) -> np.ndarray:
        weights = np.tile(counts[places, :, np.arange(n_labels)].T, (len(THRESHOLDS), 1, 1))  # (G, 3, C)
        weights[:, :, label] = counts[:, :, label]
        return metric.resampled(true, said, weights.reshape(len(THRESHOLDS), -1))

    return scores


def _by_rows(targets: np.ndarray, values: np.ndarray, metric: Metric) -> Scores:
    """Return the same for a metric that must see rows as they are: each stands twice, with the label and without."""
    step = -(-len(values) // MOST_ROWS)
    targets, values = targets[::step], values[::step]

    def scores(places: np.ndarray, label: int) -> np.ndarray:
        without, given = (values >= THRESHOLDS[places]).astype(np.float64), values[:, label] >= THRESHOLDS[:, None]
        without[:, label] = 0
        within = without.copy()
        within[:, label] = 1
        weights = np.hstack([~given, given]).astype(np.float64)  # (G, 2 N)
        return metric.resampled(np.vstack([targets, targets]), np.vstack([without, within]), weights)

    return scores


def best_rounding(targets: np.ndarray, expected: np.ndarray, *, n_labels: int, metric: Metric) -> np.ndarray:
    """Return the thresholds (C - 1,), rising, at which rounding up expected labels (N,) scores best.

    Coordinate search over a grid, from the halves on; a threshold moves only where the score rises, to the nearest of
    equally good ones, and keeps between its neighbours. Targets (N,) are the places of labels in their order.
    """
    grid = np.arange(1, N_PLACES * (n_labels - 1)) / N_PLACES
    reached = np.searchsorted(grid, expected + TIE, side="right")  # how many places of the grid a row has reached
    shape = (n_labels, len(grid) + 1)
    below = np.bincount(targets * shape[1] + reached, minlength=shape[0] * shape[1]).reshape(shape).cumsum(axis=1)
    places = N_PLACES * np.arange(n_labels - 1) + N_PLACES // 2 - 1
    for _ in range(MOST_ROUNDS):
        before = places.copy()
        for number in range(n_labels - 1):
            low, high = np.concatenate([[-1], places, [len(grid)]])[[number, number + 2]]
            tried = np.arange(low + 1, high)
            ends = np.tile(below[:, places], (len(tried), 1, 1))  # (G, C, C - 1): true label, rows below each threshold
            ends[:, :, number] = below[:, tried].T
            edges = np.concatenate(
                [np.zeros_like(ends[:, :, :1]), ends, np.tile(below[:, -1:], (len(tried), 1, 1))], axis=2
            )
            scores = scores_of_confusions(np.diff(edges, axis=2), metric)
            best = tried[scores >= scores.max() - 1e-12]
            places[number] = best[np.argmin(np.abs(best - places[number]))]
        if np.array_equal(before, places):
            break
    thresholds: np.ndarray = grid[places]
    return thresholds


def scores_of_confusions(counts: np.ndarray, metric: Metric) -> np.ndarray:
    """Return what a metric of labels says of each of G confusions (G, C, C), higher being better; -inf for nothing."""
    n_labels = counts.shape[-1]
    # Every cell of a confusion as one weighted row: any metric of labels can score it.
    true, predicted = np.divmod(np.arange(n_labels**2), n_labels)
    weights = counts.reshape(len(counts), -1).astype(np.float64)
    scores: np.ndarray = metric.sign * metric.resampled(true, np.eye(n_labels)[predicted], weights)
    return np.nan_to_num(scores, nan=-np.inf)
