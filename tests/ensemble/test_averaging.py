"""What is gained on test rows: nearly what their labels, which no one knows, say in simulations; 0 where nothing is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.ensemble import averaging
from pipeline.ensemble.intervals import UNCERTAIN
from pipeline.ensemble.members import Members
from pipeline.ensemble.stacking import build_ensemble
from tests.ensembles import settings, simulate
from tests.small import make_metric

METRICS = ["accuracy", "f1_macro", "log_loss", "auc"]


def simulated(seed: int, **options: Any) -> tuple[Members, np.ndarray]:
    sizes = {"n_rows": 2000, "n_test": 2000, "n_folds": 5, "n_outputs": 3, "shares": [0.5, 0.3, 0.2]}
    return simulate({"a": 1.5}, seed=seed, **{**sizes, **options})


def true_gain(metric: Any, candidate: Any, labels: np.ndarray) -> float:
    single = [metric.score(labels, candidate.decide(values)) for values in candidate.by_fold]
    return float(metric.score(labels, candidate.decide(candidate.mean)) - np.mean(single))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("fold_noise", [0.5, 1.5])
def test_the_gain_of_averaging_is_what_the_test_labels_would_say(name: str, fold_noise: float) -> None:
    metric, said, true = make_metric(name, 3), [], []
    for seed in range(5):
        members, labels = simulated(seed, fold_noise=fold_noise)
        candidate = members.candidate("a")
        found = averaging.gain_on_test(candidate, members, metric=metric)
        turned = replace(candidate, by_fold=candidate.by_fold[::-1])
        assert averaging.gain_on_test(turned, members, metric=metric).averaging == pytest.approx(found.averaging)
        assert found.twins == 0 and found.standard_error == pytest.approx(UNCERTAIN * abs(found.averaging))
        said.append(found.averaging)
        true.append(true_gain(metric, candidate, labels))
    assert np.mean(said) == pytest.approx(np.mean(true), rel=0.15)
    assert abs(np.mean(true)) > 0.01 and (np.array(said) * metric.sign > 0).all()


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro"])
def test_an_ensemble_s_gain_is_that_of_its_rung_and_decision(metric: str) -> None:
    members, labels = simulate({"a": 1.5, "b": 1.0}, n_rows=4000, n_test=2000, shares=[0.75, 0.25], fold_noise=1.0)
    options = settings("mean", "logistic", metric=metric, tune_above=0.0)
    ensemble = build_ensemble(members, **options)
    assert ensemble.plan.decision is not None
    final = ensemble.submitted(members)
    assert np.array_equal(final.decide(final.mean), ensemble.test)
    found = averaging.gain_on_test(final, members, metric=options["metric"])
    assert found.averaging == pytest.approx(true_gain(options["metric"], final, labels), abs=0.01)


@pytest.mark.parametrize("name", METRICS)
def test_nothing_is_gained_by_fold_models_that_are_the_same_or_without_test_rows(name: str) -> None:
    metric = make_metric(name, 3)
    members, _ = simulated(0, fold_noise=0.0)
    assert averaging.gain_on_test(members.candidate("a"), members, metric=metric).value == pytest.approx(0, abs=1e-12)
    members, _ = simulated(0, n_test=0)
    assert averaging.gain_on_test(members.candidate("a"), members, metric=metric) == averaging.GainOnTest(0.0, 0.0)


def with_twins(members: Members, labels: np.ndarray, *, ratio: float, agreement: float, seed: int = 0) -> Members:
    """Return members some of whose test rows have a training row that says the same, with their label as often as said."""
    generator = np.random.default_rng(seed)
    places = [np.flatnonzero(members.train.labels == label) for label in range(len(members.labels))]
    told = np.where(generator.random(len(labels)) < agreement, labels, (labels + 1) % len(places))
    twins = np.array([generator.choice(places[label]) for label in told])
    return replace(members, twins=np.where(generator.random(len(labels)) < ratio, twins, -1), agreement=agreement)


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
@pytest.mark.parametrize("ratio", [0.3, 1.0])
def test_twins_that_models_know_by_heart_add_what_they_do(name: str, ratio: float) -> None:
    """A fold model that learned a twin's label says it; the test rows are scored better than out-of-fold by that much."""
    metric, said, true = make_metric(name, 3), [], []
    for seed in range(4):
        plain, labels = simulated(seed)
        members = with_twins(plain, labels, ratio=ratio, agreement=0.95, seed=seed)
        twin = members.twins >= 0
        known = np.eye(3)[members.train.labels[members.twins[twin]]] * 0.7 + 0.1
        candidate = members.candidate("a")
        candidate.by_fold[:, twin] = known
        candidate.mean[twin] = known
        gained = averaging.gain_on_test(candidate, members, metric=metric)
        assert (gained.averaging == 0) == (ratio == 1)
        said.append(metric.score(members.train.labels, candidate.out_of_fold) + gained.value)
        true.append(metric.score(labels, candidate.mean))
    assert np.mean(said) == pytest.approx(np.mean(true), abs=0.015)


def test_a_metric_without_a_score_on_the_sampled_rows_gains_nothing() -> None:
    members, _ = simulated(0, n_test=1)
    gained = averaging.gain_on_test(members.candidate("a"), members, metric=make_metric("auc", 3))
    assert np.isfinite([gained.value, gained.standard_error]).all()
