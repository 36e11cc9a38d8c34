"""Log loss: the mean negative log-probability of the true label; lower is better."""

import numpy as np

from pipeline.ensemble.forms import ProbabilityMetric

FORMS = ("class",)
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
    rows = np.arange(len(labels))
    losses = -np.log(probabilities[rows, labels].astype(np.float64).clip(SMALLEST, 1 - SMALLEST))
    return weights @ losses / weights.sum(axis=1)
