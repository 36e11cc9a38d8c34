"""A fold's model: fine-tuned or stitched, it is trained, predicts and is recorded in one way."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from pipeline.artifacts.histories import HISTORY
from pipeline.artifacts.paths import UNIT_PREDICTIONS
from pipeline.artifacts.predictions import Predictions, write_predictions
from pipeline.contracts import TaskKind
from pipeline.models.accelerators import accelerator_for
from pipeline.models.batching import Inputs
from pipeline.models.prediction import mean_of_orders, predict_logits
from pipeline.params.encoders import Training
from pipeline.reproducibility import derive_seed
from pipeline.training.history import History
from pipeline.training.loop import train
from pipeline.training.plug_ins import plug_ins
from pipeline.training.pretrained_weights import remove_mixout
from pipeline.training_contracts import Objective
from pipeline.units.execution import Workspace


@dataclass(frozen=True)
class Trainee:
    """What `train` takes for one fold: a new model, its optimizer groups, what it learns from, what scores its epochs.

    `save` writes the trained model into a folder, `counts` says in its record what it learnt from.
    """

    model: nn.Module
    parameter_groups: list[dict[str, Any]]
    objective: Objective
    evaluate: Callable[[nn.Module], float] | None
    settings: Training
    seed: int
    save: Callable[[Path], None]
    counts: dict[str, Any]
    plugged: dict[str, Any] | None = None
    """Further arguments of `train`, in the place of those by the settings."""


def train_and_record(workspace: Workspace, trainee: Trainee) -> None:
    """Train a fold's model in place and write it, with its history, into the workspace's result."""
    history = train_in_place(workspace, trainee)
    trainee.save(workspace.result)
    (workspace.result / HISTORY).write_text(json.dumps({**asdict(history), **trainee.counts}), encoding="utf-8")


def train_in_place(workspace: Workspace, trainee: Trainee) -> History:
    """Train a fold's model and return its history; the model ends on the CPU."""
    plugged = trainee.plugged or plug_ins(trainee.settings, trainee.parameter_groups)
    history = train(
        trainee.model, trainee.objective, trainee.parameter_groups, settings=trainee.settings,
        seed=derive_seed(trainee.seed, "training"), device=workspace.device, checkpoints=workspace.checkpoints,
        monitor=workspace, evaluate=trainee.evaluate, **plugged,
    )  # fmt: skip
    remove_mixout(trainee.model.cpu())
    return history


def predict_and_record(
    workspace: Workspace,
    model: nn.Module,
    inputs: Inputs,
    rows: pd.DataFrame,
    settings: Training,
    fields: dict[str, Any],
    *,
    swapped: TaskKind | None = None,
) -> None:
    """Predict rows, as the model reads them, and write `predictions.parquet` into the workspace's result.

    `rows` have `row_id, task, split, repeat, fold`; `fields` are the other ones of `Predictions`. With `swapped`, the kind of
    task, all rows stand there in both orders (see `in_both_orders`): predicted is the mean of their values.
    """
    accelerator = accelerator_for(settings.precision, workspace.device)
    model.to(accelerator.device)
    with accelerator.autocast():
        logits = predict_logits(model, inputs, settings.tokens_per_micro_batch, monitor=workspace)
    if swapped is not None:
        rows, logits = rows.iloc[: len(rows) // 2], mean_of_orders(logits, swapped)
    write_predictions(Predictions(rows=rows, logits=logits, **fields), workspace.result / UNIT_PREDICTIONS)
