"""A threshold for the probability of each of several labels, as is best for a metric of decisions.

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
