"""The error of a mean over folds: worked numbers, and in a simulation whether its interval holds the true difference."""

import numpy as np
import pytest
from scipy import stats

from pipeline.experiments.fold_errors import best_by_chance, fold_interval

GENERATOR = np.random.default_rng(0)
SHIFT = np.array([0.7, *[0.12] * 11])


def test_the_variance_is_that_of_nadeau_and_bengio() -> None:
    """Five folds: s² = 0.00025, (1/5 + 1/4) s² = 0.0001125, its root 0.010607, times t(4) = 2.776: 0.02945."""
    found = fold_interval(np.array([0.02, 0.01, 0.03, 0.0, 0.04]), ratio=1 / 4)
    assert found.value == pytest.approx(0.02)
    assert found.standard_error == pytest.approx(0.0106066, abs=1e-7)
    assert (found.low, found.high) == pytest.approx((-0.009449, 0.049449), abs=1e-6)


def test_without_the_correction_it_is_the_usual_t_test() -> None:
    values = GENERATOR.normal(size=8)
    usual = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = fold_interval(values, ratio=0.0)
    assert (found.low, found.high) == pytest.approx((usual.low, usual.high))


def test_folds_without_a_score_do_not_count() -> None:
    with_gap, without = (
        fold_interval(np.array([1.0, np.nan, 2.0]), ratio=0.5),
        fold_interval(np.array([1.0, 2.0]), ratio=0.5),
    )
    assert with_gap == without
    alone, none = fold_interval(np.array([np.nan, 2.0]), ratio=0.5), fold_interval(np.array([np.nan]), ratio=0.5)
    assert alone.value == 2.0 and np.isnan([alone.low, alone.standard_error, none.value]).all()


def cross_validated(n: int, n_splits: int, n_repeats: int, wide: int, narrow: int) -> np.ndarray:
    """Return per fold how much more accurate the nearest class mean is in more dimensions, of which few tell the classes."""
    labels = np.arange(n) % 2
    rows = GENERATOR.normal(size=(n, wide)) + (labels * 2 - 1)[:, None] * SHIFT[:wide]
    fold, differences = labels, []
    for number in range(n_repeats * n_splits):
        fold = GENERATOR.permutation(n) % n_splits if number % n_splits == 0 else fold
        rest, right = fold != number % n_splits, []
        for width in (wide, narrow):
            means = [rows[rest & (labels == label), :width].mean(axis=0) for label in (0, 1)]
            decided = (rows[~rest, :width] - sum(means) / 2) @ (means[1] - means[0]) > 0
            right.append((decided == labels[~rest]).mean())
        differences.append(right[0] - right[1])
    return np.array(differences)


def true_difference(n_train: int, wide: int, narrow: int) -> float:
    """Return the same on rows without end, expected over training rows: a projection of Gaussians is one."""
    expected = []
    for width in (wide, narrow):
        centre = SHIFT[:width]
        noise = GENERATOR.normal(size=(2, 20_000, width)) / np.sqrt(n_train / 2)
        means = noise + np.stack([-centre, centre])[:, None]
        towards, middle = means[1] - means[0], means.mean(axis=0)
        length = np.linalg.norm(towards, axis=1)
        right = [
            stats.norm.cdf(((sign * centre - middle) * towards).sum(axis=1) * sign / length).mean() for sign in (-1, 1)
        ]
        expected.append(np.mean(right))
    return float(expected[0] - expected[1])


@pytest.mark.parametrize("n_repeats", [1, 4])
def test_the_interval_holds_the_true_difference_where_the_usual_one_is_too_narrow(n_repeats: int) -> None:
    """Repeats draw other folds of the same rows: to the usual t test they are four times the rows, 95 % becomes 71 %."""
    n, n_splits, wide, narrow, n_runs = 100, 5, 12, 3, 200
    truth = true_difference(n * (n_splits - 1) // n_splits, wide, narrow)
    usual, corrected = 0, 0
    for _ in range(n_runs):
        differences = cross_validated(n, n_splits, n_repeats, wide, narrow)
        both = (fold_interval(differences, ratio=ratio) for ratio in (0.0, 1 / (n_splits - 1)))
        held = [bool(interval.low <= truth <= interval.high) for interval in both]
        usual, corrected = usual + held[0], corrected + held[1]
    assert corrected / n_runs > 0.93
    assert n_repeats == 1 or usual / n_runs < 0.85


def test_the_best_of_many_variants_is_what_chance_makes_of_the_largest() -> None:
    """Of one variant the quantile is that of t; of two that are the same no more; of many that differ it is larger."""
    gains = GENERATOR.normal(size=(8, 10))
    one = best_by_chance(gains[:1], ratio=1 / 9, seed=0)
    error = fold_interval(gains[0], ratio=1 / 9).standard_error
    assert one[0] == pytest.approx(0, abs=0.02 * error * 10)
    assert one[1] == pytest.approx(error * stats.t.ppf(0.95, 9), rel=0.05)
    assert best_by_chance(gains[[0, 0]], ratio=1 / 9, seed=0) == pytest.approx(one)
    many = best_by_chance(gains, ratio=1 / 9, seed=0)
    assert many[0] > 1.0 * error and many[1] > 1.2 * one[1]


def test_two_folds_have_no_mean_and_one_has_nothing() -> None:
    mean, quantile = best_by_chance(np.array([[0.1, 0.3]]), ratio=1.0, seed=0)
    assert np.isnan(mean) and quantile > 0
    assert np.isnan(best_by_chance(np.array([[0.1]]), ratio=1.0, seed=0)).all()
