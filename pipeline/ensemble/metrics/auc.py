"""Area under the ROC curve: of the second label for two labels, else the mean over one label against the rest.

Where a row may have several labels it is the mean over the labels' columns (mean column-wise AUC).

Source: Hanley & McNeil, 1982: the share of (positive, negative) pairs in the right order, ties counting half.
Differs from scikit-learn: a label without positives or negatives is left out of the mean; NaN if none is left.
"""

import numpy as np

from pipeline.ensemble.forms import ProbabilityMetric

FORMS = ("class", "multilabel")
BOUNDS = (0, 1)
ORDERS_ROWS = True


def build() -> ProbabilityMetric:
    """Return the metric, in [0, 1]; 0.5 is chance."""
    return ProbabilityMetric(auc_of_weights, higher_is_better=True)


def auc_of_weights(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return areas (R,) under row weights (R, N).

    >>> auc_of_weights(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.9, 0.1]]), np.ones((1, 3)))
    array([0.75])
    """
    n_outputs = probabilities.shape[1]
    if labels.ndim == 1:
        positives = [1] if n_outputs == 2 else range(n_outputs)
        areas = np.stack([_area(labels == label, probabilities[:, label], weights) for label in positives])
    else:
        areas = np.stack([_area(labels[:, k] > 0, probabilities[:, k], weights) for k in range(n_outputs)])
    known = np.isfinite(areas)
    sums = np.where(known, areas, 0.0).sum(axis=0)
    return np.divide(sums, known.sum(axis=0), out=np.full(len(weights), np.nan), where=known.any(axis=0))


def _area(positive: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    negatives, of_positives = np.flatnonzero(~positive), values[positive]
    negatives = negatives[np.argsort(values[negatives], kind="stable")]
    below = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(weights[:, negatives], axis=1, out=below[:, 1:])  # weight of the first n negatives
    first, last = (np.searchsorted(values[negatives], of_positives, side=side) for side in ("left", "right"))
    gains = weights[:, positive]
    ordered = (gains * (below[:, first] + below[:, last])).sum(axis=1) / 2  # a tie counts half
    pairs = gains.sum(axis=1) * below[:, -1]
    return np.divide(ordered, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
