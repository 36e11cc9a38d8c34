"""Spearman's rank correlation of true and predicted numbers, ties at their mean rank; the mean over the columns."""

from functools import partial

from pipeline.ensemble.forms import ProbabilityMetric
from pipeline.ensemble.number_scores import mean_correlation

FORMS = ("number",)
BOUNDS = (-1, 1)
ORDERS_ROWS = True


def build() -> ProbabilityMetric:
    """Return the metric, in [-1, 1]; 0 is chance, NaN where all numbers are the same."""
    return ProbabilityMetric(partial(mean_correlation, ranked=True), higher_is_better=True)
