"""Log loss: the mean negative log-probability of the true label; lower is better.

Where a row may have several labels it is the mean over the labels' columns (mean column-wise log loss).
"""

import numpy as np

from pipeline.ensemble.forms import ProbabilityMetric

FORMS = ("class", "multilabel")
BOUNDS = (0, None)
SMALLEST = np.finfo(np.float64).eps  # scikit-learn's clip


def build() -> ProbabilityMetric:
    """Return the metric, >= 0."""
    return ProbabilityMetric(log_loss_of_weights, higher_is_better=False)


def log_loss_of_weights(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return log losses (R,) under row weights (R, N).

    >>> log_loss_of_weights(np.array([0, 1]), np.array([[0.5, 0.5], [0.5, 0.5]]), np.ones((1, 2))).round(4)
    array([0.6931])
    """
    if labels.ndim == 1:
        of_true = probabilities[np.arange(len(labels)), labels][:, None]
    else:
        of_true = np.where(labels > 0, probabilities, 1 - probabilities)
    losses = -np.log(of_true.astype(np.float64).clip(SMALLEST, 1 - SMALLEST)).mean(axis=1)
    return weights @ losses / weights.sum(axis=1)
