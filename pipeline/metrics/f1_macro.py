"""Macro F1: the plain mean of all labels' F1; a label that neither occurs nor is predicted counts as 0."""

from pipeline.scoring import ConfusionMetric, f1_of_confusion


def build(*, n_outputs: int) -> ConfusionMetric:
    """Return the metric, in [0, 1]; the mean is over the fixed label list, not over the labels that occur."""
    return ConfusionMetric(n_outputs, lambda counts: f1_of_confusion(counts).mean(axis=-1))
