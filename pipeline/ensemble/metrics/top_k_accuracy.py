"""Top-k accuracy: the share of rows whose label is among the k likeliest.

Differs from scikit-learn: of equal probabilities the label that is listed first comes first, not last.
"""

import numpy as np

from pipeline.ensemble.forms import ProbabilityMetric
from pipeline.ensemble.metrics.map_at_k import check_k, hits_among_likeliest, of_rows
from pipeline.ranges import PositiveInt

FORMS = ("class",)
BOUNDS = (0, 1)


def build(*, n_outputs: int, k: PositiveInt = 3) -> ProbabilityMetric:
    """Return the metric, in [0, 1]; it is 1 for as many labels as there are.

    Raises:
        ParamsError: if there are fewer than `k` labels.
    """
    check_k(k, n_outputs, name="top_k_accuracy")

    def from_weights(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return of_rows(hits_among_likeliest(labels, probabilities, k=k).sum(axis=1), weights)

    return ProbabilityMetric(from_weights, higher_is_better=True)
