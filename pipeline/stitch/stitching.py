"""Stitching: new heads over the frozen states of several encoders of one fold, for all pairs and heads, fold by fold.

Fold k's heads see fold k's encoders only. The states of an encoder are computed once per fold, feed the heads of all its
pairs and are removed. A model is two units per fold, as in fine-tuning: its training, and its predictions.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.artifacts.histories import read_history
from pipeline.artifacts.paths import OUT
from pipeline.artifacts.predictions import read_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.base_models.fold_results import Trained, collect
from pipeline.data.fold_jobs import FoldJob, fold_jobs, rows_digest
from pipeline.errors.failpoints import failpoint
from pipeline.params.root import Params
from pipeline.reproducibility import numerics
from pipeline.stitch.fold_encoders import fold_base, head_rows, states_bytes
from pipeline.stitch.fold_training import predict_stitched, train_stitched
from pipeline.stitch.pairs import Judge
from pipeline.stitch.plan import Context, Model, plan_model
from pipeline.stitch.states import Base, extract
from pipeline.units.budget import Budget
from pipeline.units.execution import Job, Work, run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit

MARGIN = 1.2  # free disk over the estimated size of the states
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Units of one fold over the same rows, each with its arguments."""

    name: str
    rows: pd.DataFrame
    work: Work
    units: list[tuple[Unit, dict[str, Any]]]


def stitch(
    params: Params,
    table: Table,
    folds: Folds,
    *,
    recipe: dict[str, Any],
    folder: Path,
    finetuned: Path = OUT / "finetune",
    budget: Budget | None = None,
) -> None:
    """Stitch all pairs under all heads; write `<model>/<task>.parquet`, `<model>/models/` and `<model>/history.json`.

    The digests of `recipe` stand for the code; `finetuned` is where fine-tuning left each encoder's folder. Of
    pairs for which there is not time enough in the `budget` the last ones are dropped after a fold.

    Raises:
        DataError: if a fold's model is missing, damaged, or another fold's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    budget, groups = budget or Budget(), list(params.stitch.groups(list(params.encoders)))
    context = _context(params, table, folds, recipe, finetuned)
    jobs, stitched = fold_jobs(table, folds, seed=params.seed) if groups else [], []
    for n_done, job in enumerate(jobs, start=1):
        began = budget.clock()
        stitched += _stitch_fold(context, job, budget)
        budget.drop(groups, seconds=budget.clock() - began, n_left=len(jobs) - n_done)
        context = replace(context, params=params.without(budget.dropped))
        groups = [group for group in groups if group not in budget.dropped]
    for name in context.params.stitch.models(list(params.encoders)):
        models = [model for model in stitched if model.name == name]
        collect(
            folder / name, jobs, trained=[Trained(model.training[0]) for model in models],
            predicted=[model.predicting[0] for model in models], table=table, folds=folds,
            facts=[{"encoders": [base.encoder for base in model.bases]} for model in models],
        )  # fmt: skip


def _context(params: Params, table: Table, folds: Folds, recipe: dict[str, Any], finetuned: Path) -> Context:
    groups = params.stitch.groups(list(params.encoders)).values()
    named = {encoder for group in groups for encoder in group or params.encoders}
    encoders = [name for name in params.encoders if name in named]
    predictions = {
        (name, task): read_predictions(finetuned / name / f"{task}.parquet", manifest=folds.digest)
        for name in encoders
        for task in table.labels
    }
    histories = {name: read_history(finetuned / name) for name in encoders}
    where = numerics(params.run.device, params.run.threads_per_worker)
    return Context(params, table, folds, recipe, finetuned, encoders, histories, predictions, where)


def _stitch_fold(context: Context, job: FoldJob, budget: Budget) -> list[Model]:
    """Compute all models of one fold: their heads, then their predictions."""
    params = context.params
    bases = {
        name: fold_base(
            context.finetuned / name, job, context.histories[name], encoder_settings=params.encoders[name],
            settings=params.stitch, code=context.recipe["states"][name],
        )
        for name in context.encoders
    }  # fmt: skip
    rows = head_rows(job, params.stitch, params.encoders[context.encoders[0]])
    models = _plan(context, job, bases, rows)
    cached = _fits(context, job, bases, len(rows) + len(job.to_predict))
    parts = [
        Part("heads", rows, train_stitched, [model.training for model in models]),
        Part("predict", job.to_predict, predict_stitched, [model.predicting for model in models]),
    ]
    states = {part.name: _states(context, part) if cached else {} for part in parts}
    # By key: encoders that came out the same to the last bit have the same states.
    extracting = list({work[0].key: work for needed in states.values() for work in needed.values()}.values())
    fold: Any = {"task": job.task, "repeat": job.repeat, "fold": job.fold}
    run_units(extracting, run=params.run, stage=Stage("stitch-states", **fold), budget=budget)
    for part in parts:
        folders = {encoder: unit.result for encoder, (unit, *_) in states[part.name].items()}
        stage = Stage(f"stitch-{part.name}", **fold)
        run_units(_with_states(part, folders), run=params.run, stage=stage, budget=budget)
    failpoint("stitch")
    for unit, *_ in extracting:
        shutil.rmtree(unit.folder)
    return models


def _plan(context: Context, job: FoldJob, bases: Mapping[str, Base], rows: pd.DataFrame) -> list[Model]:
    """Return the models of one fold; which pairs and whose tokens is judged on the rows of the other folds."""
    params = context.params
    labels, kind = context.table.labels[job.task], context.table.kind(job.task)
    metric = params.tasks[job.task].metric.build(n_outputs=len(labels), decide=kind.decide)
    predictions = {name: context.predictions[name, job.task] for name in context.encoders}
    judge = Judge(predictions, job, table=context.table, folds=context.folds, metric=metric)
    groups = params.stitch.groups(context.encoders)
    best = iter(judge.best_pairs(context.encoders, len(groups))) if None in groups.values() else iter(())
    chosen = {name: group or next(best) for name, group in groups.items()}
    models = []
    for group, encoders in chosen.items():
        ordered = [bases[name] for name in judge.frame_first(encoders, params.stitch.tokenizer)]
        for head in params.stitch.heads:
            models.append(plan_model(context, job, f"{group}+{head}", encoders, ordered, head, rows))
    return models


def _states(context: Context, part: Part) -> dict[str, Job]:
    """Return, by encoder, the unit that computes the states which the part's open units need."""
    waiting = [arguments for unit, arguments in part.units if not unit.is_finished()]
    needed = {base.encoder: base for arguments in waiting for base in arguments["bases"]}
    texts = part.rows[["text", "text_pair"]]
    common = {"step": "states", "rows": rows_digest(texts), "numerics": context.numerics}
    return {
        name: (Unit(f"{name}/states", {**base.depends_on(), **common}), extract, {"base": base, "rows": texts})
        for name, base in needed.items()
    }


def _with_states(part: Part, states: dict[str, Path]) -> list[Job]:
    """Return the part's units with the folders of their encoders' states; None computes them online."""
    jobs: list[Job] = []
    for unit, arguments in part.units:
        folders = [states.get(base.encoder) for base in arguments["bases"]]
        # Of a finished unit's encoders some may have states here, for other units that wait.
        jobs.append((unit, part.work, {**arguments, "features": folders if all(folders) else None}))
    return jobs


def _fits(context: Context, job: FoldJob, bases: Mapping[str, Base], n_rows: int) -> bool:
    """Return whether states are cached: as asked, unless encoders change while training or the disk is too small."""
    if context.params.stitch.features == "online" or context.params.stitch.unfreeze:
        return False
    sizes = [states_bytes(base, context.histories[name], n_rows) for name, base in bases.items()]
    needed, free = MARGIN * sum(sizes), shutil.disk_usage(Path()).free
    if needed > free:
        log.warning(
            "stitch: the states of %s would take %.1f GB and %.1f GB of disk are free; computing them online, which is "
            "slower. Free space to go back to the cache.", job.name, needed / 1e9, free / 1e9,
        )  # fmt: skip
    return needed <= free
