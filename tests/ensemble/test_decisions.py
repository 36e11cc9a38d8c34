"""Choices of the ensemble: made on the rows given, each fold's without its own, and no surer than they pay."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from pipeline import components
from pipeline.components import load
from pipeline.contracts import Metric
from pipeline.ensemble import decisions
from pipeline.ensemble.decisions import (
    Decision,
    Plan,
    best_of,
    build_ladder,
    cross_fit,
    cross_fit_best,
    cross_fit_decision,
    cross_fit_plan,
    decide,
    make_plan,
    own_folds,
)
from pipeline.params.fields import Component
from tests.ensembles import KIND, ladder_of
from tests.small import make_metric


def choosing(metric: Metric, n_rows: int, *, tune_above: float | None = 0.0) -> dict[str, Any]:
    """Return what a choice depends on besides rows, none of which share a cluster."""
    return {"clusters": np.arange(n_rows), "kind": KIND, "metric": metric, "tune_above": tune_above, "seed": 0}


class Parrot:
    """A stacker that learns its rows by heart: the planted leak."""

    def __init__(self, **_):
        self.known = {}

    def fit(self, probabilities, labels):
        self.known = {row.tobytes(): label for row, label in zip(probabilities, labels, strict=True)}

    def predict(self, probabilities):
        n_outputs = probabilities.shape[2]
        return np.stack([
            np.eye(n_outputs)[self.known[row.tobytes()]] * 0.9 + 0.1 / n_outputs
            if row.tobytes() in self.known
            else row.mean(axis=0)
            for row in probabilities
        ])  # fmt: skip

    def weights(self):
        return None

    def state(self):
        return {}

    def load_state(self, state):
        pass


def test_L4_no_stacker_of_a_world_has_seen_the_labels_of_its_fold():
    """A stacker is fitted on out-of-fold predictions of other folds than the one it predicts."""
    generator = np.random.default_rng(0)
    probabilities, folds = generator.dirichlet([1, 1], (80, 2)), np.arange(80) % 4
    labels = generator.integers(0, 2, 80)
    build = load("stackers", "logistic")
    plain, stackers = cross_fit(build, probabilities, labels, folds)
    for fold in range(4):
        inside = folds == fold
        other, others = cross_fit(build, probabilities, np.where(inside, 1 - labels, labels), folds)
        assert np.array_equal(other[fold], plain[fold]) and others[fold].state() == stackers[fold].state()
        assert not np.array_equal(other[(fold + 1) % 4], plain[(fold + 1) % 4])
        # What scores a fold's rows is what is submitted.
        assert np.array_equal(own_folds(plain, folds)[inside], stackers[fold].predict(probabilities[inside]))


@pytest.mark.parametrize("use", [True, False])
def test_L7_the_estimate_of_a_fold_does_not_depend_on_its_labels(use):
    """Rung, thresholds and scales for a fold are chosen without the labels of that fold."""
    generator = np.random.default_rng(1)
    folds, labels = np.arange(120) % 3, generator.integers(0, 3, 120)
    probabilities = generator.dirichlet(np.ones(3), (120, 4)) * 0.7 + 0.3 * np.eye(3)[labels][:, None]
    metric = make_metric("f1_macro", 3)
    ladder = ladder_of("logistic", "greedy", metric=metric)

    def estimate(labels):
        worlds = [cross_fit(build, probabilities, labels, folds)[0] for build in ladder.values()]
        return cross_fit_plan(labels, worlds, folds, use=use, **choosing(metric, len(labels)))

    plain = estimate(labels)
    for fold in range(3):
        changed = np.where(folds == fold, (labels + 1) % 3, labels)
        assert np.array_equal(estimate(changed)[folds == fold], plain[folds == fold])
        assert not np.array_equal(estimate(changed), plain)


@pytest.mark.parametrize("fold", range(4))
def test_the_choices_for_a_fold_are_made_in_its_own_world(fold):
    generator = np.random.default_rng(8)
    labels, folds = generator.integers(0, 3, 400), np.arange(400) % 4
    right = np.eye(3)[labels] * 0.4
    # Three rungs, the last much the best: with the order of the rungs turned in all other worlds, a choice made there
    # would take the first.
    worlds = np.stack([generator.dirichlet(np.ones(3), (4, 400)) + strength * right for strength in (0.1, 0.5, 2.0)])
    worlds /= worlds.sum(axis=3, keepdims=True)
    turned = worlds[::-1].copy()
    turned[:, fold] = worlds[:, fold]
    metric = make_metric("f1_macro", 3)
    plain, other = (
        cross_fit_plan(labels, list(rungs), folds, use=True, **choosing(metric, 400)) for rungs in (worlds, turned)
    )
    assert np.array_equal(other[folds == fold], plain[folds == fold])


def test_L2_a_stacker_that_knows_its_rows_by_heart_is_found_out():
    """A stacker that learns its rows by heart gains nothing: its estimate is cross-fitted."""
    generator = np.random.default_rng(2)
    probabilities, labels = generator.dirichlet([1, 1], (600, 3)), generator.integers(0, 2, 600)
    folds = np.arange(600) % 5
    score = make_metric("accuracy", 2).score
    leaking = Parrot()
    leaking.fit(probabilities, labels)
    assert score(labels, leaking.predict(probabilities)) == 1.0
    honest = own_folds(cross_fit(Parrot, probabilities, labels, folds)[0], folds)
    assert abs(score(labels, honest) - 0.5) < 3.3 * np.sqrt(0.25 / 600)


def test_the_best_rung_is_taken_the_first_of_equals_whatever_way_the_metric_points():
    labels = np.random.default_rng(3).integers(0, 2, 200)
    sure, unsure = np.eye(2)[labels] * 0.8 + 0.1, np.full((200, 2), 0.5)
    broken = np.full((200, 2), np.nan)
    for name in ("accuracy", "log_loss"):
        choose = partial(best_of, labels, metric=make_metric(name, 2))
        assert choose([unsure, sure]) == choose([unsure, sure, sure]) == 1 and choose([sure, unsure]) == 0
    assert choose([broken, unsure]) == 1 and choose([broken, broken]) == 0


def test_two_label_scales_are_a_threshold_and_as_good_as_any_on_the_grid():
    generator = np.random.default_rng(5)
    labels = (generator.random(400) < 0.2).astype(int)
    second = np.clip(0.25 * labels + 0.3 * generator.random(400), 0, 1)
    probabilities = np.stack([1 - second, second], axis=1)
    metric = make_metric("f1_binary", 2)
    scales = KIND.fit_decision(labels, probabilities, metric=metric)
    score = metric.score(labels, KIND.apply_decision(probabilities, scales))
    factors = np.exp(np.linspace(-2, 2, 41))
    grid = [metric.score(labels, KIND.apply_decision(probabilities, [1, factor])) for factor in factors]
    assert score == max(grid) > metric.score(labels, probabilities)


def test_scales_that_gain_nothing_stay_at_one():
    labels = np.random.default_rng(6).integers(0, 4, 100)
    metric = make_metric("f1_macro", 4)
    assert KIND.fit_decision(labels, np.eye(4)[labels] * 0.6 + 0.1, metric=metric) == [1, 1, 1, 1]


@pytest.mark.parametrize("n_outputs", [3, 6])
def test_coordinate_search_never_loses_on_the_rows_it_sees(n_outputs):
    generator = np.random.default_rng(n_outputs)
    labels = generator.choice(n_outputs, 500, p=generator.dirichlet(np.ones(n_outputs)))
    probabilities = generator.dirichlet(np.ones(n_outputs), 500) * 0.6 + 0.4 * np.eye(n_outputs)[labels]
    metric = make_metric("f1_macro", n_outputs)
    scales = KIND.fit_decision(labels, probabilities, metric=metric)
    assert metric.score(labels, KIND.apply_decision(probabilities, scales)) >= metric.score(labels, probabilities)
    assert np.log(scales).mean() == pytest.approx(0, abs=1e-12)


def tuned(shift, *, seed, n_rows=1000, tune_above=1.0):
    """Tune the decision on accuracy, for probabilities whose best threshold is 0.5 where `shift` is 1."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n_rows)
    second = shift / (1 + np.exp(-(generator.normal(size=n_rows) + 3 * labels - 1.5)))
    folds, options = np.arange(n_rows)[None] % 5, choosing(make_metric("accuracy", 2), n_rows, tune_above=tune_above)
    return make_plan(labels, [np.stack([1 - second, second], axis=1)[None]], folds, **options).decision


def test_a_wrong_threshold_is_mended():
    decision = tuned(0.4, seed=7)  # the argmax says no to everything
    assert decision.used and decision.gain > 0.4 and decision.scales[1] > 1.5


def test_a_right_threshold_is_mostly_left_alone():
    # One standard error lets through at most one chance gain in six.
    assert sum(tuned(1.0, seed=seed).used for seed in range(30)) <= 10


def test_scales_of_useless_probabilities_are_mostly_not_used():
    # Found and judged on the same rows they seem to gain 0.05 every time.
    options, n_used = choosing(make_metric("f1_macro", 8), 240, tune_above=1.0), 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        labels, probabilities = generator.integers(0, 8, 240), generator.dirichlet(np.ones(8), (1, 240))
        n_used += make_plan(labels, [probabilities], np.arange(240)[None] % 5, **options).decision.used
    assert n_used <= 8


def test_a_plan_whose_decision_is_not_used_leaves_probabilities_alone():
    probabilities = np.array([[0.6, 0.4]])
    assert decide(probabilities, Plan(0, Decision(False, [1.0, 9.0], 0.0, 1.0)), kind=KIND) is probabilities
    assert decide(probabilities, Plan(0, Decision(True, [1.0, 9.0], 1.0, 0.1)), kind=KIND).argmax() == 1


def test_a_stacker_listed_twice_is_two_rungs():
    metric = make_metric("accuracy", 2)
    rungs = [Component(kind="stackers", name="logistic", options={"inverse_penalty": c}) for c in (0.01, 1.0)]
    ladder = build_ladder(rungs, metric=metric, seed=0)
    assert list(ladder) == ["logistic", "logistic-2"]
    assert ladder["logistic-2"]().inverse_penalty == 1.0


def test_L7_the_single_model_of_a_fold_is_chosen_without_its_labels():
    """The best single model, over which a gain is stated, is chosen for each fold on the other folds."""
    generator = np.random.default_rng(11)
    folds, metric = np.stack([np.arange(80) % 4, np.arange(80) // 20]), make_metric("accuracy", 2)
    labels = generator.integers(0, 2, 80)
    candidates = list(generator.dirichlet([1, 1], (6, 2, 80)))
    plain = cross_fit_best(labels, candidates, folds, metric=metric)
    assert not all(np.array_equal(plain, candidate) for candidate in candidates)
    for repeat, fold in np.ndindex(2, 4):
        inside = folds[repeat] == fold
        for candidate in candidates:  # with the very labels that one of them says, it is best on the fold
            changed = np.where(inside, candidate[repeat].argmax(axis=1), labels)
            other = cross_fit_best(changed, candidates, folds, metric=metric)
            assert np.array_equal(other[repeat, inside], plain[repeat, inside])


def test_the_best_of_useless_models_is_no_better_than_chance_where_each_fold_has_its_own():
    metric, seen, honest = make_metric("accuracy", 2), [], []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        labels, candidates = generator.integers(0, 2, 400), list(generator.dirichlet([1, 1], (25, 1, 400)))
        scores = [metric.score(labels, candidate[0]) for candidate in candidates]
        chosen = cross_fit_best(labels, candidates, np.arange(400)[None] % 5, metric=metric)
        seen.append(max(scores))
        honest.append(metric.score(labels, chosen[0]))
    assert np.mean(seen) > 0.54 and np.mean(honest) == pytest.approx(0.5, abs=0.016)


def two_rungs(n_rows=600):
    """Return labels, few of them 1, and two rungs: one decides well as it is, one ranks better and says 0 to all."""
    generator = np.random.default_rng(12)
    labels = (generator.random(n_rows) < 0.3).astype(int)
    good = 1 / (1 + np.exp(-(2 * labels - 1) - 0.8 * generator.normal(size=n_rows)))
    shy = 0.3 / (1 + np.exp(-4 * (2 * labels - 1) - 0.8 * generator.normal(size=n_rows)))
    return labels, [np.stack([1 - second, second], axis=1) for second in (good, shy)]


@pytest.mark.parametrize(("name", "tune_above", "rung"), [("f1_macro", 0.0, 1), ("accuracy", 1.0, 0)])
def test_where_any_gain_counts_the_rung_is_that_which_is_best_when_tuned(name, tune_above, rung):
    labels, rungs = two_rungs()
    metric, folds = make_metric(name, 2), np.arange(600)[None] % 5
    assert best_of(labels, rungs, metric=metric) == 0
    plan = make_plan(labels, [one[None] for one in rungs], folds, **choosing(metric, 600, tune_above=tune_above))
    first, second = (
        metric.score(labels, cross_fit_decision(labels, one[None], folds, kind=KIND, metric=metric)) for one in rungs
    )
    gain = (first, second)[rung] - metric.score(labels, rungs[0])
    assert second > first + 0.03 and plan.rung == rung and plan.decision.gain == pytest.approx(gain)
    assert plan.decision.used == (gain > tune_above * plan.decision.standard_error)
    # Scales are fitted on all rows of the rung that they are for.
    assert plan.decision.scales == KIND.fit_decision(labels, rungs[rung], metric=metric)


def test_what_a_decision_must_gain_is_counted_in_its_standard_errors():
    gated, free = ([tuned(0.95, seed=seed, n_rows=300, tune_above=above) for seed in range(25)] for above in (1.0, 0.0))
    assert all(decision.used == (decision.gain > decision.standard_error) for decision in gated)
    assert all(decision.used == (decision.gain > 0) for decision in free)
    assert 0 < sum(decision.used for decision in gated) < sum(decision.used for decision in free) < 25


def test_the_metrics_say_how_surely_a_decision_must_pay():
    needed = {name: components.constant("metrics", name, "NEEDED_ERRORS") for name in components.available("metrics")}
    assert needed["accuracy"] == 1.0 and needed["f1_macro"] is needed["log_loss"] is None


@pytest.mark.parametrize("use", [True, False])
def test_what_is_estimated_is_the_branch_that_is_submitted(use):
    labels, rungs = two_rungs()
    folds, metric = np.arange(600) % 4, make_metric("f1_macro", 2)
    worlds = [np.stack([one] * 4) for one in rungs]
    estimated = cross_fit_plan(labels, worlds, folds, use=use, **choosing(metric, 600))
    if use:  # the second rung, each fold scaled as is best for the others
        expected = cross_fit_decision(labels, rungs[1][None], folds[None], kind=KIND, metric=metric)
    else:
        expected = rungs[0]
    assert np.array_equal(estimated, expected)
    # Even where it does not pay: the scales of chance are scored, or not, as they are submitted.
    generator = np.random.default_rng(13)
    chance, useless = generator.integers(0, 2, 600), generator.dirichlet([1, 1], 600)
    scored = cross_fit_plan(chance, [np.stack([useless] * 4)], folds, use=use, **choosing(metric, 600))
    assert np.array_equal(scored, useless) == (not use)


def test_no_decision_is_made_where_none_is_tuned_or_none_can_serve_the_metric():
    labels, rungs = two_rungs()
    for name, tune_above in (("f1_macro", None), ("log_loss", 0.0), ("auc", 1.0)):
        options = choosing(make_metric(name, 2), 600, tune_above=tune_above)
        for use in (None, True, False):
            plan = make_plan(labels, [one[None] for one in rungs], np.arange(600)[None] % 4, use=use, **options)
            assert plan.decision is None


def test_a_slow_rung_says_how_far_it_is(monkeypatch, caplog):
    """One rung of 200 classes was silent for half an hour."""
    monkeypatch.setattr(decisions, "LINE_SECONDS", 0.0)
    probabilities, labels = np.full((30, 1, 2), 0.5), np.arange(30) % 2
    with caplog.at_level("INFO"):
        cross_fit(
            ladder_of("mean", metric=make_metric("accuracy", 2))["mean"],
            probabilities,
            labels,
            np.arange(30) % 3,
            name="t: mean",
        )
    assert "t: mean: 5 of 6 fits" in caplog.text
