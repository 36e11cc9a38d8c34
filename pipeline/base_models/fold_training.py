"""One fold's model: built, trained on the rows that its fold allows, and applied to those that it predicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline import components
from pipeline.artifacts.copies import normalised
from pipeline.contracts import EncoderParts, TaskKind
from pipeline.data.fold_jobs import raw_texts
from pipeline.models.adapted import adapt
from pipeline.models.batching import Encoded, encode_rows
from pipeline.models.classifier import (
    TextClassifier,
    build_classifier,
    encoder_half,
    load_classifier,
    save_classifier,
    special_ids,
)
from pipeline.params.encoders import Encoder
from pipeline.reproducibility import derive_seed
from pipeline.targets.standardising import units_of
from pipeline.training.classification import Classification, WithUnlabelled, build_objective
from pipeline.training.epoch_choice import EpochScorer, evaluation, inner_split
from pipeline.training.fold_trainer import Trainee, predict_and_record, train_and_record
from pipeline.training.parameter_groups import parameter_groups
from pipeline.training.pretrained_weights import regularise
from pipeline.training.scheduling import check_schedule
from pipeline.training.thawing import freeze_lowest
from pipeline.units.execution import Workspace


def build_trainee(
    *,
    rows: pd.DataFrame,
    n_outputs: int,
    settings: Encoder,
    scorer: EpochScorer | None,
    seed: int,
    labels: Sequence[str] = (),
    copies: pd.DataFrame | None = None,
    unlabelled: pd.DataFrame | None = None,
) -> Trainee:
    """Build one fold's model and encode its rows.

    Args:
        rows: the fold's training rows: `text`, `text_pair`, `label` (int) and `cluster`.
        scorer: what chooses the epoch where `epoch_selection` is inner.
        labels: their names, for what params name by them.
        copies: of these rows: `parent` (position in rows), `text`, `text_pair` and `label`.
        unlabelled: `text, text_pair, variant, variant_pair` for objectives that read them.
    """
    chosen = fold_rows(rows, settings, seed=seed, copies=copies)
    check_schedule(settings, len(chosen.fitted))
    parts = new_encoder(settings, texts=raw_texts(rows), max_length=settings.longest_input, seed=seed)
    learner = build_learner(
        parts, chosen, settings=settings, n_outputs=n_outputs, labels=labels, scorer=scorer, seed=seed
    )
    model, labelled = learner.model, learner.labelled
    regularise(model, settings, seed=derive_seed(seed, "reinit"))
    read = partial(encode_rows, parts.tokenizer, settings=settings)
    objective = labelled if unlabelled is None else _with_unlabelled(labelled, unlabelled, read, seed)
    if settings.frozen_layers is not None:
        freeze_lowest(model.backbone, settings.frozen_layers)
    groups = parameter_groups(model.backbone, model.readout, settings)
    return Trainee(model, groups, objective, learner.evaluate, settings, seed, learner.save, learner.counts)


def new_encoder(settings: Encoder, *, texts: Sequence[str], max_length: int, seed: int) -> EncoderParts:
    """Return an encoder as its training begins, with its adapter if it has one; `seed` is the fold's."""
    parts: EncoderParts = settings.source.build(texts=texts, max_length=max_length, seed=derive_seed(seed, "encoder"))
    if settings.adapter is not None:
        adapt(encoder_half(parts.model), settings.adapter, settings.source, seed=derive_seed(seed, "adapter"))
    return parts


@dataclass(frozen=True)
class FoldRows:
    """What a fold's model of one task learns from: rows and `n_copies` copies of them; `inner` rows choose the epoch."""

    fitted: pd.DataFrame
    inner: pd.DataFrame | None
    n_copies: int


def fold_rows(rows: pd.DataFrame, settings: Encoder, *, seed: int, copies: pd.DataFrame | None) -> FoldRows:
    """Return what of a fold's training rows is fitted, with which copies; `seed` is the fold's."""
    fitted, inner = inner_split(rows.assign(position=np.arange(len(rows))), settings, seed)
    if copies is None:
        return FoldRows(fitted, inner, 0)
    kept = copies_of(fitted, copies, inner)
    return FoldRows(pd.concat([fitted, kept], ignore_index=True), inner, len(kept))


@dataclass(frozen=True)
class Learner:
    """A new model of one task and what it learns from; the other fields are those of `Trainee`."""

    model: TextClassifier
    labelled: Classification
    evaluate: Callable[[nn.Module], float] | None
    save: Callable[[Path], None]
    counts: dict[str, int]


def build_learner(
    parts: EncoderParts,
    rows: FoldRows,
    *,
    settings: Encoder,
    n_outputs: int,
    labels: Sequence[str],
    scorer: EpochScorer | None,
    seed: int,
) -> Learner:
    """Put a readout on an encoder and encode the rows of a task; arguments as in `build_trainee`."""
    targets = np.array(rows.fitted["label"].tolist())
    loss, several = build_objective(settings, targets=targets, labels=labels, n_outputs=n_outputs)
    staged = settings.sharing if components.has("sharing", settings.sharing.name, "stage") else None
    model = build_classifier(
        parts, pooling=settings.pooling, head=settings.head, n_outputs=n_outputs, seed=derive_seed(seed, "readout"),
        window=settings.window, window_pooling=settings.window_pooling, units=units_of(targets), layer=settings.layer,
        stage=staged,
    )  # fmt: skip
    read = partial(encode_rows, parts.tokenizer, settings=settings)
    encoded = read(rows.fitted)
    labelled = Classification(encoded, torch.from_numpy(targets), loss, special_ids(parts.tokenizer), several)
    save = partial(save_classifier, model, parts.tokenizer, source=settings.source.name)
    counts = {"n_rows": len(rows.fitted), "n_copies": rows.n_copies, "n_truncated": encoded.n_truncated}
    return Learner(model, labelled, evaluation(read, rows.inner, settings, scorer), save, counts)


def train_fold(workspace: Workspace, **arguments: Any) -> None:
    """Train one fold's model, given as to `build_trainee`, and write it, with its history, into the workspace's result."""
    train_and_record(workspace, build_trainee(**arguments))


def copies_of(fitted: pd.DataFrame, copies: pd.DataFrame, inner: pd.DataFrame | None) -> pd.DataFrame:
    """Return the copies of the rows that are fitted: none of a row that helps to choose the epoch, and none like one."""
    kept = copies[copies["parent"].isin(fitted["position"])]
    return kept if inner is None else kept[~normalised(kept).isin(set(normalised(inner)))]


def _with_unlabelled(
    labelled: Classification, rows: pd.DataFrame, read: Callable[[pd.DataFrame], Encoded], seed: int
) -> WithUnlabelled:
    variants = read(rows[["variant", "variant_pair"]].set_axis(["text", "text_pair"], axis=1))
    return WithUnlabelled(labelled, read(rows), variants, labelled.objective.ratio, derive_seed(seed, "unlabelled"))


def predict_fold(
    workspace: Workspace, *, model: Path, rows: pd.DataFrame, settings: Encoder, predictions: dict[str, Any],
    swapped: TaskKind | None = None,
) -> None:  # fmt: skip
    """Predict rows with one fold's model and write `predictions.parquet` into the workspace's result.

    `rows` have `row_id, task, split, repeat, fold, text, text_pair`; `predictions` are the other fields of `Predictions`.
    `swapped`: see `predict_and_record`.
    """
    classifier, tokenizer = load_classifier(model)
    inputs = encode_rows(tokenizer, rows, settings)
    predict_and_record(workspace, classifier, inputs, rows, settings, predictions, swapped=swapped)
