"""One fold's model of one task, trained further by itself from where a model of several tasks ended.

Source: Liu et al., MT-DNN, 2019, section 3 (fine-tuning after multi-task learning), https://arxiv.org/abs/1901.11504
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_model

from pipeline.artifacts.histories import HISTORY
from pipeline.base_models.fold_training import build_learner, fold_rows
from pipeline.models.classifier import WEIGHTS, restore_parts
from pipeline.params.encoders import Encoder
from pipeline.reproducibility import derive_seed
from pipeline.training.epoch_choice import EpochScorer
from pipeline.training.fold_trainer import Trainee, train_and_record
from pipeline.training.parameter_groups import parameter_groups
from pipeline.training.pretrained_weights import regularise
from pipeline.training.scheduling import check_schedule
from pipeline.training.thawing import freeze_lowest
from pipeline.units.execution import Workspace


def build_further(
    *,
    start: Path,
    rows: pd.DataFrame,
    n_outputs: int,
    settings: Encoder,
    scorer: EpochScorer | None,
    seed: int,
    labels: Sequence[str] = (),
    copies: pd.DataFrame | None = None,
) -> Trainee:
    """Return a fold's model of one task, as a model of several left it in the folder `start`, and what it learns from.

    The other arguments are those of `build_trainee`, `seed` too: the rows that choose the epoch are those of the training
    before.
    """
    chosen = fold_rows(rows, settings, seed=seed, copies=copies)
    check_schedule(settings, len(chosen.fitted))
    parts = restore_parts(start)
    learner = build_learner(
        parts, chosen, settings=settings, n_outputs=n_outputs, labels=labels, scorer=scorer, seed=seed
    )
    model = learner.model
    load_model(model, str(start / WEIGHTS))
    regularise(model, settings, seed=derive_seed(seed, "reinit"))
    if settings.frozen_layers is not None:
        freeze_lowest(model.backbone, settings.frozen_layers)
    groups = parameter_groups(model.backbone, model.readout, settings)
    before = json.loads((start / HISTORY).read_text(encoding="utf-8"))
    counts = {**learner.counts, "task_weights": before["task_weights"]}
    seed = derive_seed(seed, "further")
    return Trainee(model, groups, learner.labelled, learner.evaluate, settings, seed, learner.save, counts)


def train_further(workspace: Workspace, **arguments: Any) -> None:
    """Train a fold's model, given as to `build_further`, and write it, with its history, into the workspace's result."""
    train_and_record(workspace, build_further(**arguments))
