"""From the members' out-of-fold predictions to one ensemble, and an estimate of its score that nothing has flattered.

For every scored fold the rung is fitted, the rung chosen and the decision tuned on the rows of the other folds alone:
the whole procedure is cross-fitted, not only the last fit. Source: Varma & Simon, Bias in error estimation when using
cross-validation for model selection, 2006, https://doi.org/10.1186/1471-2105-7-91 (nested cross-validation).
Differs from it: the members are not trained anew for the inner folds, so an inner row's member was trained on the
scored fold too; its prediction for that row never saw the row's own label.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from pipeline import components
from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import HOLDOUT_FOLD, TRAIN_FOLD, Folds, Table
from pipeline.contracts import Metric, Stacker, TaskKind
from pipeline.ensemble import intervals, scoring
from pipeline.ensemble.decisions import Plan, cross_fit, cross_fit_plan, decide, make_plan, own_folds
from pipeline.errors.exceptions import DataError
from pipeline.reproducibility import derive_seed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Rows of one split in one order: their ids, targets (N, …) as `labels`, and clusters (N,)."""

    ids: list[str]
    labels: np.ndarray
    clusters: np.ndarray


@dataclass(frozen=True)
class Members:
    """Everything the ensemble of one task is made from, joined by row id; M members and C labels in fixed order."""

    task: str
    kind: TaskKind
    labels: list[str]
    names: list[str]
    train: Rows
    holdout: Rows
    test_ids: list[str]
    folds: np.ndarray  # (R, N), numbered 0 to K - 1
    out_of_fold: np.ndarray  # (R, N, M, C)
    holdout_probabilities: np.ndarray  # (H, M, C), mean over folds and repeats
    test_probabilities: np.ndarray  # (T, M, C), mean over folds and repeats


@dataclass(frozen=True)
class Ensemble:
    """The fitted ensemble and its predictions; `out_of_fold` is what the estimate scores."""

    rungs: dict[str, np.ndarray]  # cross-fitted (R, N, C)
    fitted: dict[str, Stacker]  # on all out-of-fold rows
    chosen: str
    plan: Plan
    out_of_fold: np.ndarray  # (R, N, C)
    holdout: np.ndarray  # (H, C)
    test: np.ndarray  # (T, C)

    def state(self, members: Members) -> dict[str, Any]:
        """Return, as JSON, all that predicting with the chosen rung needs."""
        decision = None if self.plan.decision is None else asdict(self.plan.decision)
        state = {"rung": self.chosen, "decision": decision, "state": self.fitted[self.chosen].state()}
        return state | {"members": members.names, "labels": members.labels}


def gather_members(members: Mapping[str, Predictions], *, table: Table, folds: Folds, task: str) -> Members:
    """Join the members' predictions by row id, in the order of the table and of `members`.

    Raises:
        DataError: if a member has other labels, lacks a row, or predicted a row in another fold than the manifest's.
    """
    kind, labels = table.kind(task), table.labels[task]
    manifest = folds.rows[folds.rows["task"] == task]
    repeats = sorted(int(repeat) for repeat in manifest["repeat"].unique())
    for predictions in members.values():
        _check_member(predictions, labels=labels, manifest=manifest, task=task)
    first = folds.select(task, repeats[0]).set_index("row_id")
    source = table.select(task, "train")
    source = source[source["row_id"].isin(first.index[first["fold"] != TRAIN_FOLD])]
    outside = source["row_id"].map(first["fold"]).to_numpy() == HOLDOUT_FOLD
    train, holdout = (_rows(part, first, table=table, task=task) for part in (source[~outside], source[outside]))
    test_ids = table.select(task, "test")["row_id"].tolist()
    numbers = [folds.select(task, repeat).set_index("row_id")["fold"].loc[train.ids] for repeat in repeats]

    def joined(split: str, ids: list[str], repeat: int | None = None) -> np.ndarray:
        columns = np.empty((len(ids), len(members), len(labels)))
        for position, predictions in enumerate(members.values() if ids else ()):
            order = [predictions.labels.index(label) for label in labels]
            columns[:, position] = probabilities_of(predictions, split, ids, kind=kind, repeat=repeat)[:, order]
        return columns

    return Members(
        task, kind, labels, list(members), train, holdout, test_ids,
        folds=np.stack([np.unique(fold.to_numpy(), return_inverse=True)[1] for fold in numbers]),
        out_of_fold=np.stack([joined("oof", train.ids, repeat) for repeat in repeats]),
        holdout_probabilities=joined("holdout", holdout.ids), test_probabilities=joined("test", test_ids),
    )  # fmt: skip


def _rows(source: pd.DataFrame, manifest: pd.DataFrame, *, table: Table, task: str) -> Rows:
    ids = source["row_id"].tolist()
    clusters = np.unique(manifest["cluster"].loc[ids].to_numpy(), return_inverse=True)[1]
    return Rows(ids, table.targets(task, source), clusters)


def _check_member(predictions: Predictions, *, labels: list[str], manifest: pd.DataFrame, task: str) -> None:
    where = f"predictions of {predictions.model}, task {task}"
    if predictions.task != task or sorted(predictions.labels) != sorted(labels):
        got = f"{predictions.task} with {predictions.labels}"
        raise DataError(f"{where}: must be of task {task} with the labels {labels}, got {got}. Run dvc repro.")
    wrong = in_other_folds(predictions, manifest)
    if len(wrong):
        row = wrong.iloc[0]
        raise DataError(
            f"{where}: {len(wrong)} out-of-fold rows are not in the fold of the manifest, first {row['row_id']!r}: "
            f"must be {row['fold_of_row']}, got {row['fold']}: its model may have trained on it. Run dvc repro --force."
        )


def in_other_folds(predictions: Predictions, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the out-of-fold rows scored in another `fold` than the manifest's of their task, `fold_of_row`."""
    rows = predictions.rows[predictions.rows["split"] == "oof"]
    rows = rows.merge(manifest, on=["row_id", "repeat"], how="left", suffixes=("", "_of_row"), validate="1:1")
    return rows[rows["fold"] != rows["fold_of_row"]]


def build_ensemble(
    members: Members, *, ladder: Mapping[str, Callable[[], Stacker]], metric: Metric, tune: bool, seed: int
) -> Ensemble:
    """Cross-fit every rung, choose one, and estimate the whole procedure.

    The `ladder` has the simplest rung first; with one member it is just its mean. `tune`: whether to tune the decision.
    """
    if len(members.names) < 2:
        [name] = components.having("stackers", "KEEPS_SINGLE")
        ladder = {name: partial(components.build, "stackers", name, metric=metric, seed=seed)}
    labels = members.train.labels
    if members.folds.max() < 2:
        logger.warning("task %s: two folds leave nothing to choose on: the first rung is used, untuned.", members.task)
        ladder, tune = dict(list(ladder.items())[:1]), False
    options: dict[str, Any] = {"clusters": members.train.clusters, "kind": members.kind, "metric": metric, "tune": tune}
    rungs, estimate = [], []
    for repeat, (probabilities, folds) in enumerate(zip(members.out_of_fold, members.folds, strict=True)):
        worlds = [cross_fit(build, probabilities, labels, folds) for build in ladder.values()]
        rungs.append([own_folds(world, folds) for world in worlds])
        own_seed = derive_seed(seed, members.task, "estimate", repeat)
        estimate.append(cross_fit_plan(labels, worlds, folds, seed=own_seed, **options))
    candidates = list(np.stack(rungs, axis=1))  # per rung (R, N, C)
    plan = make_plan(labels, candidates, members.folds, seed=derive_seed(seed, members.task, "final"), **options)
    fitted = {name: build() for name, build in ladder.items()}
    for stacker in fitted.values():
        stacker.fit(np.concatenate(members.out_of_fold), np.tile(labels, len(members.folds)))
    chosen = list(ladder)[plan.rung]
    holdout, test = (
        decide(fitted[chosen].predict(part), plan, kind=members.kind) if len(part) else np.empty((0, part.shape[-1]))
        for part in (members.holdout_probabilities, members.test_probabilities)
    )
    return Ensemble(dict(zip(ladder, candidates, strict=True)), fitted, chosen, plan, np.stack(estimate), holdout, test)


def ensemble_predictions(members: Members, ensemble: Ensemble, *, manifest: str, seed: int) -> Predictions:
    """Return the ensemble in the common contract: oof rows as the estimate has them, test and hold-out rows once.

    The latter carry repeat 0 and fold -1: they come from all folds. Logits are log-probabilities, clipped below.
    """
    blocks: list[tuple[str, list[str], int, Any]] = [
        *(("oof", members.train.ids, repeat, folds) for repeat, folds in enumerate(members.folds)),
        ("holdout", members.holdout.ids, 0, HOLDOUT_FOLD),
        ("test", members.test_ids, 0, HOLDOUT_FOLD),
    ]
    parts = [
        pd.DataFrame({"row_id": ids, "split": split, "repeat": repeat, "fold": fold})
        for split, ids, repeat, fold in blocks
        if ids
    ]
    rows = pd.concat(parts, ignore_index=True).assign(task=members.task)
    logits = members.kind.logits(np.concatenate([*ensemble.out_of_fold, ensemble.holdout, ensemble.test]))
    return Predictions("ensemble", members.task, members.labels, rows, logits, manifest, "", seed)


def describe_ensemble(
    members: Members, ensemble: Ensemble, *, kinds: Mapping[str, str], metric_name: str, metrics: dict[str, Metric],
    n_bootstrap: int, seed: int, scored_ratio: float = 1.0,
) -> dict[str, Any]:  # fmt: skip
    """Return one task's part of scores.json, but for its `stitching`.

    `kinds` says by member name `encoder`, `stitched` or `baseline`; of the `metrics` to report `metric_name` decides.
    `scored_ratio` is the share of the test rows that the board scores.
    """
    metric, names = metrics[metric_name], members.names
    singles = [members.out_of_fold[:, :, position] for position in range(len(names))]
    single_scores = [metric.sign * metric.score(members.train.labels, single.mean(axis=0)) for single in singles]
    best = int(np.argmax(np.nan_to_num(single_scores, nan=-np.inf)))
    baselines = [score for name, score in zip(names, single_scores, strict=True) if kinds[name] == "baseline"]
    options: dict[str, Any] = {"metric": metric, "n_resamples": n_bootstrap, "seed": derive_seed(seed, members.task)}
    records = scoring.score_models(
        members.train.labels, [*singles, *ensemble.rungs.values(), ensemble.out_of_fold], folds=members.folds,
        clusters=members.train.clusters, report_metrics=metrics, reference=best, **options,
    )  # fmt: skip
    heads = [{"name": name, "kind": kinds[name]} for name in names]
    heads += [{"name": name, "kind": "rung"} for name in ensemble.rungs]
    outside, counts = members.holdout, {"n_train": len(members.train.ids), "n_test": len(members.test_ids)}
    n_scored = round(scored_ratio * counts["n_test"])
    return counts | {"n_scored": n_scored} | _diagnostics(members, ensemble.out_of_fold.mean(axis=0), singles) | {
        "metric": metric_name,
        "higher_is_better": metric.higher_is_better,
        "models": [head | record for head, record in zip(heads, records[:-1], strict=True)],
        "best_single": names[best],
        "baseline": metric.sign * max(baselines) if baselines else None,
        "chosen": ensemble.chosen,
        "estimate": _estimate_record(
            records[-1], n_train=counts["n_train"], n_test=n_scored,
            bounds=components.constant("metrics", metric_name, "BOUNDS"),
        ),
        "decision": None if ensemble.plan.decision is None else asdict(ensemble.plan.decision),
        "weights": {
            name: dict(zip(names, shares, strict=True))
            for name, stacker in ensemble.fitted.items()
            if (shares := stacker.weights()) is not None
        },
        "holdout": scoring.score_once(outside.labels, ensemble.holdout, clusters=outside.clusters, **options),
    }  # fmt: skip


def _diagnostics(members: Members, final: np.ndarray, singles: list[np.ndarray]) -> dict[str, Any]:
    targets, kind = members.train.labels, members.kind
    agreement = scoring.error_agreement([kind.errors(targets, single.mean(axis=0)) for single in singles])
    described = kind.describe(targets, final, labels=members.labels, row_ids=members.train.ids)
    return {"labels": members.labels, "agreement": {"names": members.names, "values": agreement}, **described}


def _estimate_record(
    record: dict[str, Any], *, n_train: int, n_test: int, bounds: tuple[float | None, float | None]
) -> dict[str, Any]:
    kept = {name: record[name] for name in ("score", "low", "high", "standard_error", "metrics")}
    score = intervals.Interval(record["score"], record["low"], record["high"], record["standard_error"])
    low, high = intervals.unseen_interval(score, n_train=n_train, n_test=n_test, bounds=bounds)
    return kept | {"test_low": low, "test_high": high}
