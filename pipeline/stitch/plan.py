"""One stitched model of one fold as its two units, with all that each of them depends on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.artifacts.histories import UnitRecord
from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.data.fold_jobs import FoldJob, rows_digest
from pipeline.params.root import Params
from pipeline.stitch.states import Base
from pipeline.training.epoch_choice import epoch_scorer
from pipeline.units.unit import Unit

# Neither changes what a model learns: the first two name other models, states are the same from a file but for rounding.
NOT_IN_KEY = {"pairs", "heads", "tokenizer", "features", "checkpoint_seconds"}


@dataclass(frozen=True)
class Context:
    """What all folds share."""

    params: Params
    table: Table
    folds: Folds
    recipe: dict[str, Any]
    finetuned: Path
    encoders: list[str]
    histories: dict[str, list[UnitRecord]]
    predictions: dict[tuple[str, str], Predictions]
    numerics: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """One model of one fold: its encoders, the frame first, and its two units with their arguments."""

    name: str
    bases: list[Base]
    training: tuple[Unit, dict[str, Any]]
    predicting: tuple[Unit, dict[str, Any]]


def plan_model(
    context: Context, job: FoldJob, name: str, group: Sequence[str], bases: list[Base], head: str, rows: pd.DataFrame
) -> Model:
    """Return a model's two units: its head, called so in params.yaml, learns from `rows`.

    `group` names its encoders as they are listed, `bases` are the same, the frame first.
    """
    settings, labels, kind = context.params.stitch, context.table.labels[job.task], context.table.kind(job.task)
    metric = context.params.tasks[job.task].metric
    inner = settings.epoch_selection == "inner"
    # The seed knows the encoders, not the model's name: a pair that a fold chose is the same pair when listed.
    seed, component = job.seed_of(*group, head), settings.heads[head]
    depends_on = {
        "step": "stitch", "recipe": context.recipe["train"][head], "encoders": [base.depends_on() for base in bases],
        "settings": settings.model_dump(exclude=NOT_IN_KEY), "head": component.model_dump(),
        "rows": rows_digest(rows if inner else rows.drop(columns="cluster")),
        "labels": labels, "kind": context.table.kinds[job.task], "n_outputs": len(kind.outputs(labels)),
        "metric": metric.model_dump() if inner else None, "seed": seed, "numerics": context.numerics,
    }  # fmt: skip
    common = {"bases": bases, "settings": settings}
    training = Unit(f"{name}/{job.name}", depends_on)
    train = {**common, "rows": rows, "n_outputs": depends_on["n_outputs"], "head": component, "seed": seed}
    train["labels"] = labels
    train["scorer"] = epoch_scorer(settings, metric=metric, kind=kind, labels=labels)
    depends_on = {"step": "predict-stitched", "model": training.key, "code": context.recipe["predict"][head]}
    predicting = Unit(f"{name}/{job.name}/predict", {**depends_on, "rows": rows_digest(job.to_predict)})
    fields: dict[str, Any] = {
        "model": name,
        "task": job.task,
        "labels": kind.outputs(labels),
        "manifest": context.folds.digest,
    }
    fields |= {"seed": seed, "recipe": context.recipe["train"][head]}
    predict = {**common, "rows": job.to_predict, "model": training.result, "predictions": fields}
    predict["swapped"] = kind if job.reading.swap else None
    return Model(name, bases, (training, train), (predicting, predict))
