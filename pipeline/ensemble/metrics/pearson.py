"""Pearson's correlation of true and predicted numbers, the mean over the columns.

Out-of-fold rows are scored within folds: pooled, the means of folds' models, which lean away from their own folds' means,
would lower it.
"""

from functools import partial

from pipeline.ensemble.forms import ProbabilityMetric
from pipeline.ensemble.number_scores import mean_correlation

FORMS = ("number",)
BOUNDS = (-1, 1)
ORDERS_ROWS = True


def build() -> ProbabilityMetric:
    """Return the metric, in [-1, 1]; 0 is chance, NaN where all numbers are the same."""
    return ProbabilityMetric(partial(mean_correlation, ranked=False), higher_is_better=True)
