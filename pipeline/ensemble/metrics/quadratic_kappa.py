"""Cohen's kappa with quadratic weights, for ordered labels; 0 where it is not defined.

Source: Cohen, Weighted kappa, 1968. The distance of two labels is the square of their distance in the label list.
"""

from collections.abc import Callable

import numpy as np

from pipeline.ensemble.forms import ConfusionMetric, ratio

FORMS = ("class",)
BOUNDS = (-1, 1)
ORDERED = True
ORDER = "from the lowest to the highest"


def build(*, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray]) -> ConfusionMetric:
    """Return the metric, in [-1, 1]; 0 is chance."""
    return ConfusionMetric(n_outputs, decide, kappa_of_confusion)


def kappa_of_confusion(counts: np.ndarray) -> np.ndarray:
    """Return kappas (...) of counts (..., C, C).

    >>> float(kappa_of_confusion(np.array([[3.0, 1.0], [0.0, 4.0]])))
    0.75
    """
    places = np.arange(counts.shape[-1])
    distances = (places[:, None] - places) ** 2
    total = counts.sum(axis=(-2, -1))
    expected = counts.sum(axis=-1)[..., :, None] * counts.sum(axis=-2)[..., None, :]
    observed_cost, expected_cost = (counts * distances).sum(axis=(-2, -1)), (expected * distances).sum(axis=(-2, -1))
    return ratio(expected_cost - observed_cost * total, expected_cost)
