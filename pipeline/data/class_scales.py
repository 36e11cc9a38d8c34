"""Scales of the labels: what probabilities are multiplied by before the largest is taken.

Source: a scaled argmax is optimal for metrics of confusion counts: Narasimhan et al., Consistent Multiclass Algorithms for
Complex Performance Measures, 2015.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.contracts import Metric

SCALES = np.exp(np.linspace(-2, 2, 41))
N_SWEEPS = 3


def apply_scales(probabilities: np.ndarray, scales: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return probabilities (N, C) times scales (C,), made to sum to 1 again.

    >>> apply_scales(np.array([[0.6, 0.4]]), [1.0, 3.0]).round(3)
    array([[0.333, 0.667]])
    """
    scaled = probabilities * np.asarray(scales)
    return scaled / scaled.sum(axis=1, keepdims=True)


def find_scales(labels: np.ndarray, probabilities: np.ndarray, *, metric: Metric) -> np.ndarray:
    """Return the scales (C,), with geometric mean 1, whose argmax scores best: coordinate search over a coarse grid.

    A scale moves only where the score rises; among equally good values the one nearest to the present one is taken.
    For two labels one scale is searched, which is a threshold on the second label's probability.
    """
    n_outputs = probabilities.shape[1]
    scales = np.ones(n_outputs)
    for _ in range(1 if n_outputs == 2 else N_SWEEPS):
        before = scales.copy()
        for label in [1] if n_outputs == 2 else range(n_outputs):
            scales[label] = _best_scale(labels, probabilities * scales, label, metric=metric) * scales[label]
        if np.array_equal(before, scales):
            break
    return scales / np.exp(np.log(scales).mean())


def _best_scale(labels: np.ndarray, probabilities: np.ndarray, label: int, *, metric: Metric) -> float:
    """Return the factor for one label, from the confusion counts under every factor of the grid at once."""
    n_outputs = probabilities.shape[1]
    others = probabilities.copy()
    others[:, label] = -1.0
    rival = others.argmax(axis=1)
    own = probabilities[:, label]
    needed = np.divide(others.max(axis=1), own, out=np.full(len(own), np.inf), where=own > 0)
    # The row goes over to the label at the first factor of the grid above `needed`.
    crossing = np.searchsorted(SCALES, needed, side="right")
    grid = len(SCALES) + 1
    shape = (n_outputs, n_outputs, grid)
    cells = (labels * n_outputs + rival) * grid + crossing
    rows = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)
    over = rows.cumsum(axis=2)[:, :, :-1]  # (true, rival, factor): rows that have gone over
    counts = rows.sum(axis=2, keepdims=True) - over
    counts[:, label] += over.sum(axis=1)
    # Every cell of a confusion as one weighted row: any metric of labels can score it.
    true, predicted = np.divmod(np.arange(n_outputs**2), n_outputs)
    weights = counts.reshape(n_outputs**2, -1).T.astype(np.float64)
    scores = np.nan_to_num(metric.sign * metric.resampled(true, np.eye(n_outputs)[predicted], weights), nan=-np.inf)
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(SCALES[best[np.argmin(np.abs(np.log(SCALES[best])))]])
