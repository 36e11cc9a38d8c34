"""A fold's model and its training: fine-tuned or stitched, it is trained, written and recorded in one way."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.artifacts.histories import HISTORY
from pipeline.params.encoders import Training
from pipeline.reproducibility import derive_seed
from pipeline.training.loop import train
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


def train_and_record(workspace: Workspace, trainee: Trainee) -> None:
    """Train a fold's model in place and write it, with its history, into the workspace's result."""
    history = train(
        trainee.model,
        trainee.objective,
        trainee.parameter_groups,
        settings=trainee.settings,
        seed=derive_seed(trainee.seed, "training"),
        device=workspace.device,
        checkpoints=workspace.checkpoints,
        monitor=workspace,
        evaluate=trainee.evaluate,
    )
    trainee.model.cpu()
    trainee.save(workspace.result)
    record = {**asdict(history), **trainee.counts}
    (workspace.result / HISTORY).write_text(json.dumps(record), encoding="utf-8")
