"""Ensembles for tests: members made of noise about labels that are known, of test rows too, and what is built from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.class_targets import ClassTargets
from pipeline.ensemble.decisions import build_ladder
from pipeline.ensemble.description import describe_ensemble
from pipeline.ensemble.members import N_SAMPLED, Members, Rows, gather_members
from pipeline.ensemble.stacking import Ensemble, build_ensemble
from pipeline.params.fields import Component
from tests.competition import competition
from tests.small import make_metric

KIND = ClassTargets()


def simulate(
    strengths: Mapping[str, float], *, n_rows: int = 400, n_test: int = 5, holdout: int = 0, n_repeats: int = 1,
    n_folds: int = 4, n_outputs: int = 2, fold_noise: float = 0.5, shares: Sequence[float] | None = None, seed: int = 0,
    copies: Mapping[str, str] | None = None,
) -> tuple[Members, np.ndarray]:  # fmt: skip
    """Return members whose logits carry the label with the given strengths, and the labels of their test rows.

    Noise of one standard deviation is that of the row, the same for all models of a member; each fold model adds
    `fold_noise` of its own. `copies` names members that repeat another one.
    """
    generator = np.random.default_rng(seed)
    names, copied = [*strengths, *(copies or {})], dict(copies or {})
    labels = generator.choice(n_outputs, n_rows + holdout + n_test, p=shares)
    logits = generator.normal(size=(len(labels), len(strengths), n_outputs))
    logits += np.eye(n_outputs)[labels][:, None] * np.array(list(strengths.values()))[:, None]
    logits = logits + fold_noise * generator.normal(size=(n_repeats, n_folds, *logits.shape))
    values = np.exp(logits[..., [list(strengths).index(copied.get(name, name)) for name in names], :])
    values /= values.sum(axis=-1, keepdims=True)  # (R, K, N + H + T, M, C)
    train, outside, test = np.split(np.arange(len(labels)), [n_rows, n_rows + holdout])
    folds = np.stack([generator.permutation(np.arange(n_rows) % n_folds) for _ in range(n_repeats)])
    by_fold = values.mean(axis=0)
    members = Members(
        task="t", kind=KIND, labels=[str(label) for label in range(n_outputs)], names=names,
        train=_rows(labels, train), holdout=_rows(labels, outside), test_ids=[f"r{row}" for row in test], folds=folds,
        out_of_fold=np.stack([of_repeat[of_row, train] for of_repeat, of_row in zip(values, folds, strict=True)]),
        holdout_probabilities=by_fold[:, outside].mean(axis=0), holdout_by_fold=by_fold[:, outside],
        test_probabilities=by_fold[:, test].mean(axis=0), twins=np.full(n_test, -1), agreement=0.9, weights=None,
        sampled=np.arange(min(n_test, N_SAMPLED)), sampled_by_fold=by_fold[:, test[:N_SAMPLED]],
    )  # fmt: skip
    return members, labels[test]


def _rows(labels: np.ndarray, places: np.ndarray) -> Rows:
    return Rows([f"r{row}" for row in places], labels[places], places)


def ladder_of(*names: str, metric: Any, seed: int = 0) -> dict[str, Any]:
    """Return a ladder of stackers without options."""
    return build_ladder([Component(kind="stackers", name=name) for name in names], metric=metric, seed=seed)


def settings(
    *rungs: str, metric: str = "accuracy", n_outputs: int = 2, tune_above: float | None = None
) -> dict[str, Any]:
    """Return what `build_ensemble` needs besides members."""
    built = make_metric(metric, n_outputs)
    return {"ladder": ladder_of(*rungs, metric=built), "metric": built, "tune_above": tune_above, "seed": 0}


def stacked(
    *, metric: str = "accuracy", rungs: Sequence[str] = ("mean", "greedy", "logistic"), tune_above: float | None = 1.0,
    **options: Any,
) -> tuple[Members, Ensemble]:  # fmt: skip
    """Return the members of a small competition, joined by row id, and their ensemble."""
    table, folds, members = competition(**options)
    gathered = gather_members(members, table=table, folds=folds, task="news")
    choices = settings(*rungs, metric=metric, n_outputs=len(gathered.labels), tune_above=tune_above)
    return gathered, build_ensemble(gathered, **choices)


def described(
    members: Members, ensemble: Ensemble, metric: str = "accuracy", also: Sequence[str] = ("f1_macro",), **options: Any
) -> dict[str, Any]:
    """Return a task's part of scores.json; the last member is its baseline."""
    metrics = {name: make_metric(name, len(members.labels)) for name in (metric, *also)}
    kinds = {name: "encoder" for name in members.names} | {members.names[-1]: "baseline"}
    chosen: dict[str, Any] = {"n_bootstrap": 100, "seed": 0} | options
    return describe_ensemble(members, ensemble, kinds=kinds, metric_name=metric, metrics=metrics, **chosen)
