"""Kinds of task: what each must keep, and an ensemble over targets of a form that no kind here has."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import components
from pipeline.contracts import Metric, Stacker
from pipeline.data.class_targets import ClassTargets
from pipeline.ensemble.averaging import gain_on_test
from pipeline.ensemble.description import describe_ensemble
from pipeline.ensemble.members import Members, gather_members
from pipeline.ensemble.stacking import build_ensemble, ensemble_predictions
from pipeline.params.fields import Component
from pipeline.targets.strata import memberships
from tests.competition import DIGEST, competition

KINDS = pytest.mark.parametrize("name", components.available("task_kinds"))
N_ROWS = 40


def columns_of(name: str) -> pd.DataFrame:
    """Return what a training file of this kind of task may say, each label several times."""
    n_labels = components.constant("task_kinds", name, "N_LABELS") or 3
    return pd.DataFrame({"label": [str(number % n_labels) for number in range(N_ROWS)]})


@KINDS
def test_a_kind_reads_what_it_lists_and_nothing_else(name: str) -> None:
    kind, columns = components.load("task_kinds", name)(), columns_of(name)
    cells = kind.cells(columns, {})
    labels = kind.list_labels(cells, list(columns))
    assert kind.check(cells, labels) is None and kind.faults(cells, labels).empty
    strange = kind.faults(pd.Series(["what is this?"], index=[7]), labels)
    assert strange.index == [7] and re.match(r"must .*, got .*what", strange[7])
    targets = kind.read(cells, labels)
    assert len(targets) == N_ROWS
    strata, names = kind.strata(targets, labels)
    assert memberships(strata, len(names)).shape == (N_ROWS, len(names))
    assert strata.dtype == (np.int64 if strata.ndim == 1 else np.bool_)
    assert kind.cells(columns.assign(**dict.fromkeys(columns, "")), {}).isna().all()
    assert kind.form == components.constant("task_kinds", name, "FORM")


@KINDS
def test_a_kind_shows_what_it_decides_and_its_link_has_an_inverse(name: str) -> None:
    kind, columns = components.load("task_kinds", name)(), columns_of(name)
    labels = kind.list_labels(kind.cells(columns, {}), list(columns))
    logits = np.random.default_rng(0).normal(size=(N_ROWS, len(kind.outputs(labels))))
    values = kind.values(logits)
    assert values.dtype == np.float64 and np.isfinite(values).all()
    np.testing.assert_allclose(kind.values(kind.logits(values)), values, rtol=1e-5)
    decided = kind.decide(values)
    answers = kind.answers(values, labels)
    assert np.array_equal(kind.read(answers["label"], labels), decided)
    assert not kind.errors(decided, values).any()
    assert kind.errors(np.roll(decided, 1), values).any()
    assert kind.sureness(logits).shape == (N_ROWS,)


@KINDS
def test_a_kind_that_is_alone_in_its_labels_is_refused(name: str) -> None:
    kind = components.load("task_kinds", name)()
    cells = pd.Series(["a"] * 4)
    assert "must have" in kind.check(cells, kind.list_labels(cells, ["label"]))


def test_probabilities_are_the_softmax_and_the_decision_the_likeliest() -> None:
    kind = ClassTargets()
    values = kind.values(np.log([[1.0, 3.0], [3.0, 1.0]]))
    np.testing.assert_allclose(values, [[0.25, 0.75], [0.75, 0.25]])
    assert kind.decide(values).tolist() == [1, 0]
    assert kind.decide(kind.apply_decision(values, [4.0, 1.0])).tolist() == [0, 0]


class Numbers:
    """Targets that are numbers, predicted as they are: a form of target that nothing outside the kinds knows."""

    form = "number"

    def faults(self, cells, labels):
        return cells[pd.to_numeric(cells, errors="coerce").isna()]

    def outputs(self, labels):
        return labels

    def read(self, cells, labels):
        return cells.astype(float).to_numpy()

    def values(self, logits):
        return logits.astype(np.float64)

    def logits(self, values):
        return values.astype(np.float32)

    def needed_errors(self, values, *, metric):
        return None

    def plausible_targets(self, targets, values, by_fold, *, twins, agreement):
        """Return values plus residuals of out-of-fold rows, and for a row with a twin that one's target."""
        possible = by_fold.mean(axis=0)[:, 0] + (targets - values[:, 0])[:, None]  # (N, S)
        weights = np.where(twins < 0, 1, 1 - agreement) / len(possible) * np.ones_like(possible)
        return np.vstack([possible, targets[twins]]), np.vstack([weights, np.where(twins < 0, 0, agreement)])

    def errors(self, targets, values):
        return np.abs(targets - values[:, 0])

    def describe(self, targets, values, *, labels, row_ids, decision):
        return {}


class MeanSquaredError:
    """What the numbers are scored by."""

    higher_is_better, sign = False, -1
    reads = "probabilities"

    def score(self, targets, values):
        return float(self.resampled(targets, values, np.ones((1, len(targets))))[0])

    def resampled(self, targets, values, weights):
        return weights @ (targets - values[:, 0]) ** 2 / weights.sum(axis=1)


METRIC: Metric = MeanSquaredError()  # type: ignore[assignment]


@pytest.fixture
def members_of_numbers(monkeypatch: pytest.MonkeyPatch) -> Members:
    """Three members that predict numbers, the first one best."""
    monkeypatch.setattr("pipeline.artifacts.table.Table.kind", lambda table, task: Numbers())
    table, folds, members = competition(labels=("0", "1"), holdout=20)
    table.labels["news"][:] = ["value"]
    generator = np.random.default_rng(0)
    truth = table.rows.set_index(["split", "row_id"])["label"]
    numbers = {}
    for noise, (name, member) in enumerate(members.items(), start=1):
        split = member.rows["split"].where(member.rows["split"] == "test", "train")
        known = truth.loc[list(zip(split, member.rows["row_id"], strict=True))].fillna("0.5").astype(float).to_numpy()
        values = (known + generator.normal(size=len(known)) * noise)[:, None]
        numbers[name] = type(member)(name, "news", ["value"], member.rows, values.astype(np.float32), DIGEST, "", 0)
    return gather_members(numbers, table=table, folds=folds, task="news")


def test_an_ensemble_asks_nothing_but_the_kind_what_targets_are(members_of_numbers: Members) -> None:
    gathered = members_of_numbers
    ladder: dict[str, Any] = {"mean": lambda: _mean(METRIC)}
    ensemble = build_ensemble(gathered, ladder=ladder, metric=METRIC, tune_above=0.0, seed=0)
    expected = np.mean([gathered.out_of_fold[:, :, position] for position in range(3)], axis=0)
    np.testing.assert_allclose(ensemble.out_of_fold, expected)
    assert ensemble.plan.decision is None
    final = ensemble_predictions(gathered, ensemble, manifest=DIGEST, seed=0)
    assert final.logits.shape == (len(final.rows), 1)
    # A name that there is, for the bounds of a score: none is below 0.
    described = describe_ensemble(
        gathered, ensemble, kinds=dict.fromkeys(gathered.names, "encoder"), metric_name="log_loss",
        metrics={"log_loss": METRIC}, n_bootstrap=50, seed=0,
    )  # fmt: skip
    assert described["best_single"] == "model0" and described["estimate"]["score"] > 0
    assert described["gain"]["value"] > 0 and described["label_shift"] is None


def test_what_numbers_gain_by_averaging_is_their_ambiguity(members_of_numbers: Members) -> None:
    """Krogh & Vedelsby, Neural Network Ensembles, Cross Validation, and Active Learning, 1995: E = mean E_f - ambiguity."""
    for name in members_of_numbers.names:
        candidate = members_of_numbers.candidate(name)
        ambiguity = ((candidate.by_fold - candidate.by_fold.mean(axis=0)) ** 2).mean()
        gained = gain_on_test(candidate, members_of_numbers, metric=METRIC)
        assert ambiguity > 0.1 and gained.averaging == pytest.approx(-ambiguity, rel=1e-9) and gained.twins == 0


def test_a_twin_s_number_is_believed_as_often_as_twins_agree(members_of_numbers: Members) -> None:
    """On rows whose twin has their very number the error is that of the prediction, as often as twins agree."""
    twins = np.where(np.arange(len(members_of_numbers.test_ids)) % 2, 0, -1)
    known = replace(members_of_numbers, twins=twins, agreement=1.0)
    candidate = known.candidate("model0")
    _, weights = known.kind.plausible_targets(
        known.train.labels, candidate.out_of_fold, candidate.by_fold, twins=twins[known.sampled], agreement=1.0
    )
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    residuals = (known.train.labels - candidate.out_of_fold[:, 0]) ** 2
    at_twins = (candidate.mean[twins[known.sampled] == 0, 0] - known.train.labels[0]) ** 2
    expected = (at_twins.mean() + residuals.mean()) / 2 - residuals.mean()
    assert gain_on_test(candidate, known, metric=METRIC).twins == pytest.approx(expected)


def _mean(metric: Metric) -> Stacker:
    stacker: Stacker = Component(kind="stackers", name="mean").build(metric=metric, seed=0)
    return stacker
