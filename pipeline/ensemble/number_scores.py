"""Means and correlations of numbers under sets of row weights, per column, missing targets left out."""

from collections.abc import Callable, Sequence

import numpy as np


def sums_of_known(
    targets: np.ndarray, values: np.ndarray, weights: np.ndarray, *, error: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted sums of an error of each difference, and of the rows known, both (R, V).

    Targets, NaN where missing, and values are (N, V), weights (R, N).
    """
    known = ~np.isnan(targets)
    return weights @ error(np.where(known, values - targets, 0.0)), weights @ known.astype(np.float64)


def over_columns(scores: np.ndarray) -> np.ndarray:
    """Return the means (R,) of the columns' scores (R, V), of those that have one; NaN where none has.

    >>> over_columns(np.array([[1.0, 3.0], [1.0, np.nan]])).tolist()
    [2.0, 1.0]
    """
    known = np.isfinite(scores)
    return quotient(np.where(known, scores, 0.0).sum(axis=1), known.sum(axis=1))


def quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the quotient of two arrays, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


def mean_correlation(targets: np.ndarray, values: np.ndarray, weights: np.ndarray, *, ranked: bool) -> np.ndarray:
    """Return the columns' mean correlation (R,) of numbers, or of their ranks, under row weights (R, N).

    A column without two different numbers on either side has none.
    """
    columns = []
    for target, value in zip(targets.T, values.T, strict=True):
        known = ~np.isnan(target)
        of_rows, sides = weights[:, known], [target[known], value[known]]
        columns.append(_correlation([_ranks(side, of_rows) if ranked else side for side in sides], of_rows))
    return over_columns(np.stack(columns, axis=1))


def _correlation(sides: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Return the correlation (R,) of two sides, (N,) or (R, N), under weights (R, N)."""
    total = weights.sum(axis=1)
    centered = [side - quotient((weights * side).sum(axis=1), total)[:, None] for side in sides]
    spreads = [(weights * side**2).sum(axis=1) for side in centered]
    covariance = (weights * centered[0] * centered[1]).sum(axis=1)
    # What rounding leaves of numbers that are all the same is no spread.
    sizes = [(weights * side**2).sum(axis=1) * np.finfo(float).eps for side in sides]
    varies = (spreads[0] > sizes[0]) & (spreads[1] > sizes[1])
    product = np.where(varies, np.sqrt(spreads[0]) * np.sqrt(spreads[1]), 0.0)
    return quotient(covariance, product).clip(-1, 1)


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean ranks (R, N), less a half, that values (N,) have where each row stands as often as its weight."""
    _, places = np.unique(values, return_inverse=True)
    order = np.argsort(places, kind="stable")
    if not len(order):
        return weights
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    sums = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: np.ndarray = (sums.cumsum(axis=1) - sums / 2)[:, places]
    return ranks
