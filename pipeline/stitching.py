"""Stitching: new heads over the frozen states of several encoders of one fold, for all pairs and heads, fold by fold.

Fold k's heads see fold k's encoders only. The states of an encoder are computed once per fold, feed the heads of all its
pairs and are removed. A model is two units per fold, as in fine-tuning: its training, and its predictions.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline import artifacts
from pipeline.artifacts import Folds, Predictions, Table
from pipeline.executing import run_units
from pipeline.failpoints import failpoint
from pipeline.features import Base, extract
from pipeline.fold_models import fold_base, head_rows, read_history, states_bytes
from pipeline.fold_training import HISTORY
from pipeline.folding import FoldJob, fold_jobs, gather_predictions, rows_digest
from pipeline.pairing import Judge
from pipeline.paths import OUT
from pipeline.reproducibility import derive_seed, numerics
from pipeline.stitched_training import predict_stitched, train_stitched
from pipeline.units import Unit, link_folder

if TYPE_CHECKING:
    from pipeline.params import Params
    from pipeline.params_base import Component

# Neither changes what a model learns: the first two name other models, states are the same from a file but for rounding.
NOT_IN_KEY = {"pairs", "heads", "tokenizer", "features", "checkpoint_seconds"}
MARGIN = 1.2  # free disk over the estimated size of the states

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """What all folds share."""

    params: "Params"
    table: Table
    folds: Folds
    recipe: dict[str, Any]
    finetuned: Path
    encoders: list[str]
    histories: dict[str, list[dict[str, Any]]]
    predictions: dict[tuple[str, str], Predictions]
    numerics: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """One model of one fold: its encoders, the frame first, and its two units with their arguments."""

    name: str
    bases: list[Base]
    training: tuple[Unit, dict[str, Any]]
    predicting: tuple[Unit, dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """Units of one fold over the same rows, each with its arguments and encoders."""

    name: str
    rows: pd.DataFrame
    work: Any
    units: list[tuple[Unit, dict[str, Any], list[Base]]]


def stitch(
    params: "Params",
    table: Table,
    folds: Folds,
    *,
    recipe: dict[str, Any],
    folder: Path,
    finetuned: Path = OUT / "finetune",
) -> None:
    """Stitch all pairs under all heads and write each model's predictions, fold models and history into a folder.

    Args:
        params: the encoders, and which of them are stitched and how.
        table: the rows.
        folds: the fold manifest.
        recipe: of the stage, whose digests stand for the code.
        folder: where `<model>/<task>.parquet`, `<model>/models/` and `<model>/history.json` go.
        finetuned: where fine-tuning left each encoder's folder.

    Raises:
        DataError: if a fold's model is missing, damaged, or another fold's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = params.stitch.models(list(params.encoders))
    context = _context(params, table, folds, recipe, finetuned)
    jobs = fold_jobs(table, folds) if names else []
    made: dict[str, list[Model]] = {name: [] for name in names}
    for job in jobs:
        for model in _stitch_fold(context, job):
            made[model.name].append(model)
    for name, models in made.items():
        _collect(context, folder / name, jobs, models)


def _context(params: "Params", table: Table, folds: Folds, recipe: dict[str, Any], finetuned: Path) -> Context:
    groups = params.stitch.groups(list(params.encoders)).values()
    named = {encoder for group in groups for encoder in group or params.encoders}
    encoders = [name for name in params.encoders if name in named]
    predictions = {
        (name, task): artifacts.read_predictions(finetuned / name / f"{task}.parquet", manifest=folds.digest)
        for name in encoders
        for task in table.labels
    }
    histories = {name: read_history(finetuned / name) for name in encoders}
    where = numerics(params.run.device, params.run.threads_per_worker)
    return Context(params, table, folds, recipe, finetuned, encoders, histories, predictions, where)


def _stitch_fold(context: Context, job: FoldJob) -> list[Model]:
    """Compute all models of one fold: their heads, then their predictions."""
    params = context.params
    bases = {
        name: fold_base(
            context.finetuned / name, job, context.histories[name], encoder_settings=params.encoders[name],
            settings=params.stitch, code=context.recipe["states"][name], seed=params.seed,
        )
        for name in context.encoders
    }  # fmt: skip
    rows = head_rows(job, params.stitch, params.encoders[context.encoders[0]], params.seed)
    models = _plan(context, job, bases, rows)
    cached = _fits(context, job, bases, len(rows) + len(job.predicted))
    parts = [
        Part("heads", rows, train_stitched, [(*one.training, one.bases) for one in models]),
        Part("predict", job.predicted, predict_stitched, [(*one.predicting, one.bases) for one in models]),
    ]
    states = {part.name: _states(context, part) if cached else {} for part in parts}
    # By key: encoders that came out the same to the last bit have the same states.
    extracting = list({one[0].key: one for own in states.values() for one in own.values()}.values())
    run_units(extracting, run=params.run, stage=f"stitch-states-{job.name}")
    for part in parts:
        found = {encoder: unit.result for encoder, (unit, *_) in states[part.name].items()}
        run_units(_with_states(part, found), run=params.run, stage=f"stitch-{part.name}-{job.name}")
    failpoint("stitch")
    for unit, *_ in extracting:
        shutil.rmtree(unit.folder)
    return models


def _plan(context: Context, job: FoldJob, bases: Mapping[str, Base], rows: pd.DataFrame) -> list[Model]:
    """Return the models of one fold; which pairs and whose tokens is judged on the rows of the other folds."""
    params = context.params
    metric = params.tasks[job.task].metric.build(n_outputs=len(context.table.labels[job.task]))
    judge = Judge(
        {name: context.predictions[name, job.task] for name in context.encoders}, table=context.table,
        folds=context.folds, task=job.task, repeat=job.repeat, fold=job.fold, metric=metric,
    )  # fmt: skip
    groups = params.stitch.groups(context.encoders)
    own = iter(judge.best_pairs(context.encoders, len(groups))) if None in groups.values() else iter(())
    chosen = {name: group or next(own) for name, group in groups.items()}
    models = []
    for group, encoders in chosen.items():
        ordered = [bases[name] for name in judge.frame_first(encoders, params.stitch.tokenizer)]
        for name, head in params.stitch.heads.items():
            models.append(plan_model(context, job, f"{group}+{name}", encoders, ordered, (name, head), rows))
    return models


def plan_model(
    context: Context,
    job: FoldJob,
    name: str,
    group: Sequence[str],
    bases: list[Base],
    head: tuple[str, "Component"],
    rows: pd.DataFrame,
) -> Model:
    """Return a model's two units.

    Args:
        context: what all folds share.
        job: the fold.
        name: of the model.
        group: its encoders, as they are listed.
        bases: its encoders, the frame first.
        head: its name and component.
        rows: what the head learns from.
    """
    settings, labels = context.params.stitch, context.table.labels[job.task]
    metric = context.params.tasks[job.task].metric
    inner = settings.epoch_selection == "inner"
    head_name, component = head
    # The seed knows the encoders, not the model's name: a pair that a fold chose is the same pair when listed.
    seed = derive_seed(context.params.seed, job.task, job.repeat, job.fold, *group, head_name)
    depends_on = {
        "step": "stitch",
        "recipe": context.recipe["train"][head_name],
        "settings": settings.model_dump(exclude=NOT_IN_KEY),
        "head": component.model_dump(),
        "encoders": [base.depends_on() for base in bases],
        "rows": rows_digest(rows if inner else rows.drop(columns="cluster")),
        "labels": labels,
        "metric": metric.model_dump() if inner else None,
        "seed": seed,
        "numerics": context.numerics,
    }
    common = {"bases": bases, "settings": settings}
    training = Unit(f"{name}/{job.name}", depends_on)
    train = {**common, "rows": rows, "n_outputs": len(labels), "head": component, "metric": metric, "seed": seed}
    depends_on = {"step": "predict-stitched", "model": training.key, "code": context.recipe["predict"][head_name]}
    predicting = Unit(f"{name}/{job.name}/predict", {**depends_on, "rows": rows_digest(job.predicted)})
    fields = {"model": name, "task": job.task, "labels": labels, "manifest": context.folds.digest, "seed": seed}
    fields["recipe"] = context.recipe["train"][head_name]
    predict = {**common, "rows": job.predicted, "model": training.result, "predictions": fields}
    return Model(name, bases, (training, train), (predicting, predict))


def _states(context: Context, part: Part) -> dict[str, tuple[Unit, Any, dict[str, Any]]]:
    """Return, by encoder, the unit that computes the states which the part's open units need."""
    needed = {base.encoder: base for unit, _, bases in part.units if not unit.is_finished() for base in bases}
    texts = part.rows[["text", "text_pair"]]
    common = {"step": "states", "rows": rows_digest(texts), "numerics": context.numerics}
    return {
        name: (Unit(f"{name}/states", {**base.depends_on(), **common}), extract, {"base": base, "rows": texts})
        for name, base in needed.items()
    }


def _with_states(part: Part, states: dict[str, Path]) -> list[tuple[Unit, Any, dict[str, Any]]]:
    """Return the part's units with the folders of their encoders' states; None computes them online."""
    jobs = []
    for unit, arguments, bases in part.units:
        folders = [states[base.encoder] for base in bases] if bases[0].encoder in states else None
        jobs.append((unit, part.work, {**arguments, "features": folders}))
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


def _collect(context: Context, folder: Path, jobs: list[FoldJob], models: list[Model]) -> None:
    name = folder.name
    for task in context.table.labels:
        units = [one.predicting[0] for one in models]
        predictions = gather_predictions(units, jobs, model=name, task=task, manifest=context.folds.digest)
        artifacts.write_predictions(predictions, folder / f"{task}.parquet")
    history = []
    for job, model in zip(jobs, models, strict=True):
        unit = model.training[0]
        link_folder(unit.result, folder / "models" / job.name)
        failpoint("collect-stitched")
        record = json.loads((unit.result / HISTORY).read_text(encoding="utf-8"))
        names = {"task": job.task, "repeat": job.repeat, "fold": job.fold, "key": unit.key}
        encoders = [base.encoder for base in model.bases]
        made = {"encoders": encoders, "rows": unit.depends_on["rows"]}
        history.append({**names, **made, **record, "numerics": unit.depends_on["numerics"]})
    artifacts.write_json(folder / HISTORY, {"units": history})
