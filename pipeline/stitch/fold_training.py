"""A stitched model of one fold: its training over the fold's frozen encoders, its predictions, its files."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_model, save_model

from pipeline.artifacts.paths import STITCHED
from pipeline.contracts import TaskKind
from pipeline.errors.exceptions import DataError
from pipeline.models.classifier import WEIGHTS, TextClassifier
from pipeline.params.fields import Component
from pipeline.params.stitch import Stitch as Settings
from pipeline.reproducibility import derive_seed
from pipeline.stitch.model import Part, SideBySide, Stitch, StitchedClassifier
from pipeline.stitch.states import Base, Cached, Online, hidden_size
from pipeline.targets.standardising import units_of
from pipeline.training.classification import Classification, build_objective
from pipeline.training.epoch_choice import EpochScorer, evaluation, inner_split
from pipeline.training.fold_trainer import Trainee, predict_and_record, train_and_record
from pipeline.training.parameter_groups import layer_of, parameter_groups
from pipeline.training.scheduling import check_schedule
from pipeline.units.execution import Workspace

SPEC = STITCHED


def train_stitched(workspace: Workspace, **arguments: Any) -> None:
    """Train one fold's head, given as to `build_stitched`, and write it, with its history, into the workspace's result."""
    train_and_record(workspace, build_stitched(**arguments))


def build_stitched(
    *,
    bases: Sequence[Base],
    features: Sequence[Path] | None,
    rows: pd.DataFrame,
    n_outputs: int,
    settings: Settings,
    head: Component,
    scorer: EpochScorer | None,
    seed: int,
    labels: Sequence[str] = (),
) -> Trainee:
    """Build one fold's head over its encoders' states of its rows.

    Args:
        bases: the fold's encoders, the frame first.
        features: per encoder the folder of its states of `rows`, or None to compute them online.
        rows: what the head learns from: `text`, `text_pair`, `label` (int) and `cluster`.
        scorer: what chooses the epoch where `epoch_selection` is inner.
        labels: their names, for what params name by them.
    """
    fitted, inner = inner_split(rows.assign(position=np.arange(len(rows))), settings, seed)
    check_schedule(settings, len(fitted))
    targets = np.array(fitted["label"].tolist())
    loss, several = build_objective(settings, targets=targets, labels=labels, n_outputs=n_outputs)
    sides, encoders = _sides(bases, features, rows)
    spec = _spec(settings, head, sides, bases, n_outputs)
    if (units := units_of(targets)) is not None:
        spec["units"] = units
    model = StitchedClassifier(Stitch(spec, seed=derive_seed(seed, "stitch")), encoders, tuned=settings.unfreeze > 0)
    _unfreeze(model, settings.unfreeze)
    model.stitch.readout.dropout_samples = settings.dropout_samples
    inputs = SideBySide.of(sides)

    def read(part: pd.DataFrame) -> Part:
        return Part(inputs, part["position"].to_numpy())

    labelled = Classification(read(fitted), torch.from_numpy(targets), loss, sum=several)
    groups, evaluate = parameter_groups(model.tuned, model.stitch, settings), evaluation(read, inner, settings, scorer)
    counts = {"n_rows": len(fitted), "features": "cache" if features else "online"}
    return Trainee(model, groups, labelled, evaluate, settings, seed, save=partial(_save, model), counts=counts)


def _save(model: StitchedClassifier, folder: Path) -> None:
    save_model(model, str(folder / WEIGHTS))
    (folder / SPEC).write_text(json.dumps(model.stitch.spec, indent=1), encoding="utf-8")


def predict_stitched(
    workspace: Workspace,
    *,
    model: Path,
    bases: Sequence[Base],
    features: Sequence[Path] | None,
    rows: pd.DataFrame,
    settings: Settings,
    predictions: dict[str, Any],
    swapped: TaskKind | None = None,
) -> None:
    """Predict rows with one fold's stitched model and write `predictions.parquet` into the workspace's result.

    `bases` and `features` are as to `build_stitched`; `rows` have `row_id, task, split, repeat, fold, text, text_pair`;
    `predictions` are the other fields of `Predictions`; `swapped`: see `predict_and_record`.
    """
    tuned = settings.unfreeze > 0
    sides, encoders = _sides(bases, None if tuned else features, rows)
    classifier = load_stitched(model, encoders, bases, tuned=tuned)
    predict_and_record(workspace, classifier, SideBySide.of(sides), rows, settings, predictions, swapped=swapped)


def load_stitched(
    folder: Path, encoders: Sequence[TextClassifier], bases: Sequence[Base], *, tuned: bool
) -> StitchedClassifier:
    """Load what `train_stitched` wrote.

    Raises:
        DataError: if it was trained over other encoders than these: states of different folds are in different spaces.
    """
    spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    if spec["encoders"] != [base.digest for base in bases]:
        raise DataError(
            f"{folder}: was trained over the encoders {[digest[:12] for digest in spec['encoders']]}, got "
            f"{[base.digest[:12] for base in bases]}. Run dvc repro stitch."
        )
    model = StitchedClassifier(Stitch(spec, seed=0), encoders, tuned=tuned)
    load_model(model, str(folder / WEIGHTS))
    return model.eval()


def _sides(
    bases: Sequence[Base], features: Sequence[Path] | None, rows: pd.DataFrame
) -> tuple[list[Cached] | list[Online], list[TextClassifier]]:
    if features is not None:
        return [Cached(folder) for folder in features], []
    models, tokenizers = zip(*(base.load() for base in bases), strict=True)
    encoded = [base.encode(tokenizer, rows) for base, tokenizer in zip(bases, tokenizers, strict=True)]
    return [Online(tokens, hidden_size(model)) for tokens, model in zip(encoded, models, strict=True)], list(models)


def _spec(
    settings: Settings, head: Component, sides: Sequence[Cached | Online], bases: Sequence[Base], n_outputs: int
) -> dict[str, Any]:
    pooling = settings.pooling_of(head)
    noised = settings.head_rows == "noised"
    return {
        "encoders": [base.digest for base in bases], "sizes": [side.hidden_size for side in sides],
        "layer_norm": settings.layer_norm, "projection": settings.projection,
        "noise": settings.state_noise if noised else 0.0, "dropout": settings.state_dropout if noised else 0.0,
        "fusion": [settings.fusion.name, settings.fusion.options], "alignment": settings.alignment,
        "head": [head.name, head.options], "pooling": [pooling.name, pooling.options] if pooling else None,
        "n_outputs": n_outputs,
    }  # fmt: skip


def _unfreeze(model: StitchedClassifier, n_layers: int) -> None:
    """Let the topmost layers of every encoder learn."""
    for encoder in model.tuned:
        top = max(layer_of(name) for name, _ in encoder.named_parameters())
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(layer_of(name, top) > top - n_layers)
