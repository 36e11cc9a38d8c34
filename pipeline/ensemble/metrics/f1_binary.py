"""F1 of the second label, the positive one: harmonic mean of its precision and recall."""

from collections.abc import Callable

import numpy as np

from pipeline.ensemble.forms import ConfusionMetric
from pipeline.ensemble.metrics.f1_macro import f1_of_confusion
from pipeline.errors.exceptions import ParamsError

FORMS = ("class",)
BOUNDS = (0, 1)
N_LABELS = 2
ORDER = "the positive one last"


def build(*, n_outputs: int, decide: Callable[[np.ndarray], np.ndarray]) -> ConfusionMetric:
    """Return the metric, in [0, 1].

    Raises:
        ParamsError: if there are not exactly two labels.
    """
    if n_outputs != N_LABELS:
        raise ParamsError(f"metric f1_binary: needs two labels, got {n_outputs}. Use f1_macro or f1_weighted.")
    return ConfusionMetric(n_outputs, decide, lambda counts: f1_of_confusion(counts)[..., 1])
