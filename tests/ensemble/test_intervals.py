"""The bootstrap and the intervals, against what can be worked out."""

import time

import numpy as np
import pytest

from pipeline import components
from pipeline.ensemble.intervals import (
    NORMAL_QUANTILE,
    UNCERTAIN,
    Comparison,
    Interval,
    bootstrap_scores,
    cluster_weights,
    compare,
    interval,
    shifted,
    unseen_interval,
)
from tests.small import make_metric


def right_with(share: float, n_rows: int, seed: int):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n_rows)
    predicted = np.where(generator.random(n_rows) < share, labels, 1 - labels)
    return labels, np.eye(2)[predicted] * 0.8 + 0.1


def resampled(labels, probabilities, **options):
    settings = {
        "metric": make_metric("accuracy", 2),
        "clusters": np.arange(len(labels)),
        "n_resamples": 1000,
        "seed": 1,
    }
    return bootstrap_scores(labels, [probabilities], **{**settings, **options})[0]


def test_the_standard_error_of_accuracy_is_the_binomial_one():
    labels, probabilities = right_with(0.8, 2000, 0)
    score = make_metric("accuracy", 2).score(labels, probabilities)
    error = interval(score, resampled(labels, probabilities)).standard_error
    assert error == pytest.approx(np.sqrt(score * (1 - score) / 2000), rel=0.08)


def test_the_interval_holds_the_truth_about_95_times_in_100():
    inside = 0
    for seed in range(200):
        labels, probabilities = right_with(0.7, 300, seed)
        estimate = interval(0.0, resampled(labels, probabilities, n_resamples=300))
        inside += estimate.low <= 0.7 <= estimate.high
    assert 178 <= inside <= 199  # 99.9 % of a binomial with 0.95


def test_copied_rows_in_a_cluster_do_not_narrow_the_interval():
    labels, probabilities = right_with(0.8, 300, 3)
    copied = resampled(np.repeat(labels, 9), np.repeat(probabilities, 9, axis=0), clusters=np.repeat(range(300), 9))
    naive = resampled(np.repeat(labels, 9), np.repeat(probabilities, 9, axis=0))
    plain = resampled(labels, probabilities)
    assert copied.std() == pytest.approx(plain.std(), rel=0.1)
    assert naive.std() < 0.45 * plain.std()


def test_every_resample_draws_as_many_clusters_as_there_are():
    clusters = np.array(["a", "a", "b", "c", "c", "c"])
    weights = np.concatenate(list(cluster_weights(clusters, n_resamples=500, seed=0)))
    assert weights.shape == (500, 6)
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 3:] == weights[:, 3:4]).all()


def test_weights_come_in_chunks_that_fit_in_memory():
    chunks = [len(chunk) for chunk in cluster_weights(np.arange(1_500_000), n_resamples=5, seed=0)]
    assert chunks == [2, 2, 1]


def test_the_same_seed_gives_the_same_resamples_and_another_seed_others():
    labels, probabilities = right_with(0.8, 200, 4)
    first, again, other = (resampled(labels, probabilities, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_thousand_resamples_of_thirty_thousand_rows_take_seconds_at_most():
    labels = np.random.default_rng(0).integers(0, 6, 30_000)
    probabilities = np.random.default_rng(1).dirichlet(np.ones(6), 30_000)
    weights = np.ones((100, 30_000))
    start = time.process_time()
    for _ in range(10):
        make_metric("f1_macro", 6).resampled(labels, probabilities, weights)
    assert time.process_time() - start < 3


def test_the_difference_of_paired_models_is_surer_than_of_unpaired_ones():
    labels, first = right_with(0.8, 1000, 5)
    second = first.copy()
    second[:20] = 1 - second[:20]
    options = {"metric": make_metric("accuracy", 2), "clusters": np.arange(1000), "n_resamples": 500}
    paired = bootstrap_scores(labels, [first, second], seed=1, **options)
    alone = bootstrap_scores(labels, [second], seed=2, **options)[0]
    assert (paired[1] - paired[0]).std() < 0.5 * (alone - paired[0]).std()


def test_the_score_on_unseen_rows_lies_in_its_interval_about_95_times_in_100():
    inside = 0
    for seed in range(200):
        labels, probabilities = right_with(0.7, 800, seed)
        train, test = slice(0, 600), slice(600, 800)
        score = make_metric("accuracy", 2).score(labels[train], probabilities[train])
        estimate = interval(score, resampled(labels[train], probabilities[train], n_resamples=200))
        low, high = unseen_interval(estimate, n_train=600, n_test=200)
        inside += low <= make_metric("accuracy", 2).score(labels[test], probabilities[test]) <= high
    assert 178 <= inside <= 199


def test_an_interval_of_an_empty_test_set_is_not_a_number():
    assert np.isnan(unseen_interval(Interval(0.8, 0.7, 0.9, 0.05), n_train=10, n_test=0)).all()


@pytest.mark.parametrize(
    ("name", "score", "expected"),
    [
        ("accuracy", 0.99, (0.95, 1.0)),
        ("mcc", -0.99, (-1.0, -0.95)),
        ("log_loss", 0.01, (0.0, 0.05)),
        ("log_loss", 1.5, (1.46, 1.54)),
        ("accuracy", 1.1, (1.0, 1.0)),
    ],
)
def test_an_interval_ends_where_the_metric_does(name, score, expected):
    estimate = Interval(score, score - 0.01, score + 0.01, 0.04 / 1.959964 / np.sqrt(2))
    bounds = components.constant("metrics", name, "BOUNDS")
    assert unseen_interval(estimate, n_train=100, n_test=100, bounds=bounds) == pytest.approx(expected)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("n_variants", "mean", "most"), [(1, 0.0, 1.6449), (5, 1.1630, 2.3187)])
def test_the_best_of_independent_variants_shows_by_chance_what_normal_maxima_are(sign, n_variants, mean, most):
    generator = np.random.default_rng(3)
    draws = {variant: 0.5 + 0.1 * variant + 0.02 * generator.normal(size=40_000) for variant in range(n_variants)}
    compared = Comparison({}, {**draws, "reference": np.full(40_000, 0.4)}, sign)
    shown = compared.best_by_chance(range(n_variants), "reference")
    assert shown == pytest.approx((0.02 * mean, 0.02 * most), abs=0.0005)


def test_the_best_of_variants_that_move_together_shows_by_chance_no_more_than_one_of_them():
    draws = np.random.default_rng(4).normal(size=10_000)
    compared = Comparison({}, {**dict.fromkeys("abc", draws), "reference": np.zeros(10_000)}, 1)
    alone = compared.best_by_chance("a", "reference")
    assert compared.best_by_chance("abc", "reference") == pytest.approx(alone, abs=1e-12)


def test_resamples_without_a_score_say_nothing_of_chance():
    draws = {"a": np.array([0.1, np.nan, 0.3]), "b": np.array([0.2, 0.5, 0.2]), "reference": np.zeros(3)}
    assert Comparison({}, draws, 1).best_by_chance("ab", "reference") == pytest.approx((0.05, 0.095))
    draws["b"][:2] = np.nan
    assert np.isnan(Comparison({}, draws, 1).best_by_chance("ab", "reference")).all()


def test_the_best_of_five_that_are_no_better_is_beyond_chance_about_once_in_twenty():
    beyond = 0
    for seed in range(200):
        labels, reference = right_with(0.7, 300, seed)
        generator = np.random.default_rng([seed, 1])
        tried = {"reference": reference}
        for variant in range(5):
            right = generator.random(300) < 0.7
            tried[variant] = np.eye(2)[np.where(right, labels, 1 - labels)]
        options = {"clusters": np.arange(300), "n_resamples": 300, "seed": seed}
        compared = compare(labels, tried, metric=make_metric("accuracy", 2), **options)
        _, most = compared.best_by_chance(range(5), "reference")
        beyond += max(compared.gain(variant, "reference").value for variant in range(5)) > most
    assert 1 <= beyond <= 22  # 99.9 % of a binomial with 0.05


def test_resamples_without_a_score_do_not_count():
    assert interval(0.5, np.array([0.4, np.nan, 0.6])).standard_error == pytest.approx(np.sqrt(0.02))
    assert np.isnan(interval(0.5, np.array([np.nan, np.nan])).low)


def test_what_is_known_up_to_an_error_moves_an_interval_and_widens_both_sides() -> None:
    lopsided = Interval(0.5, 0.5 - 0.03, 0.5 + 0.08, 0.03)
    moved = shifted(lopsided, by=0.1, error=0.04 / NORMAL_QUANTILE)
    assert (moved.value, moved.low, moved.high) == pytest.approx((0.6, 0.6 - 0.05, 0.6 + np.hypot(0.08, 0.04)))
    assert moved.standard_error == pytest.approx(np.hypot(0.03, 0.04 / NORMAL_QUANTILE))
    assert shifted(lopsided, by=0.0, error=0.0) == lopsided


@pytest.mark.parametrize("error", [0.0, 0.003])
def test_the_error_of_what_is_expected_adds_to_that_of_both_samples(error: float) -> None:
    score = Interval(0.8, 0.79, 0.81, 0.002)
    low, high = unseen_interval(score, error=error, n_train=3000, n_test=1000)  # 0.004 of both samples
    half = NORMAL_QUANTILE * {0.0: 0.004, 0.003: 0.005}[error]
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gain_on_the_test_rows_counts_what_each_side_gains_there(sign: int) -> None:
    """Of two that are better by 0.02 and 0.05 on test rows, the second gains 0.03 more, uncertain by a quarter of that."""
    generator = np.random.default_rng(0)
    draws = {name: value + 0.01 * generator.normal(size=4000) for name, value in (("a", 0.70), ("b", 0.71))}
    scores, on_test = {"a": 0.70, "b": 0.71}, {"a": sign * 0.02, "b": sign * 0.05}
    plain, known = (Comparison(scores, draws, sign, said).gain("b", "a") for said in ({}, on_test))
    assert plain.value == pytest.approx(sign * 0.01) and known.value == pytest.approx(sign * 0.01 + 0.03)
    assert known.standard_error == pytest.approx(np.hypot(plain.standard_error, UNCERTAIN * 0.03))
    assert known.low < known.value < known.high and known.high - known.low > plain.high - plain.low
    # Of one alone nothing is known that could be compared.
    assert Comparison(scores, draws, sign, {"b": 0.05}).gain("b", "a") == plain


def test_no_expected_score_and_no_gain_lies_beyond_what_the_metric_allows() -> None:
    draws = {"a": np.array([0.0, 1.0, 0.9]), "b": np.array([1.0, 0.0, 0.9])}
    compared = Comparison({"a": 0.99, "b": 0.97}, draws, 1, {"a": 0.04, "b": 0.01}, (0, 1))
    assert (compared.expected("a"), compared.expected("b")) == (1.0, 0.98)
    gain = compared.gain("a", "b")
    assert gain.value == pytest.approx(0.02) and (gain.low, gain.high) == pytest.approx((-0.95, 0.95), abs=0.01)
    assert Interval(0.5, -2.0, 3.0, 1.0).within(compared.bounds_of_gain) == Interval(0.5, -1.0, 1.0, 1.0)
    assert Comparison({}, {}, 1, bounds=(0, None)).bounds_of_gain == (None, None)


def test_rows_count_by_their_weights_in_every_resample() -> None:
    labels, probabilities = right_with(0.8, 400, 9)
    weights = np.where(np.arange(400) < 300, 0.0, 4.0)
    options = {"metric": make_metric("accuracy", 2), "n_resamples": 300, "seed": 0, "clusters": np.arange(400)}
    [counted] = bootstrap_scores(labels, [probabilities], row_weights=weights, **options)
    options["clusters"] = np.arange(100)
    [alone] = bootstrap_scores(labels[300:], [probabilities[300:]], **options)
    assert counted.mean() == pytest.approx(alone.mean(), abs=0.01) and counted.std() == pytest.approx(
        alone.std(), rel=0.2
    )
