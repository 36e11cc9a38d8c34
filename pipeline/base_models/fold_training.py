"""One fold's model: built, trained on the rows that its fold allows, and applied to those that it predicts."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.artifacts.copies import normalised
from pipeline.artifacts.histories import HISTORY
from pipeline.artifacts.paths import UNIT_PREDICTIONS
from pipeline.artifacts.predictions import Predictions, write_predictions
from pipeline.models.accelerators import accelerator_for
from pipeline.models.batching import Encoded, encode_rows
from pipeline.models.classifier import TextClassifier, build_classifier, load_classifier, save_classifier, special_ids
from pipeline.models.prediction import predict_logits
from pipeline.reproducibility import derive_seed
from pipeline.training.classification import Classification
from pipeline.training.epoch_choice import evaluation, inner_split
from pipeline.training.loop import train
from pipeline.training.parameter_groups import parameter_groups
from pipeline.training.unlabelled import WithUnlabelled

if TYPE_CHECKING:
    from pipeline.params.encoders import Encoder
    from pipeline.params.fields import Component
    from pipeline.units.execution import Workspace


@dataclass(frozen=True)
class Trainee:
    """What `train` takes for one fold: a new model with its tokenizer and optimizer groups, and what it learns from."""

    model: TextClassifier
    tokenizer: Any
    groups: list[dict[str, Any]]
    objective: Any
    evaluate: Callable[[nn.Module], float] | None
    counts: dict[str, int]


def build_trainee(
    *,
    rows: pd.DataFrame,
    n_outputs: int,
    settings: "Encoder",
    metric: "Component | None",
    seed: int,
    copies: pd.DataFrame | None = None,
    unlabelled: pd.DataFrame | None = None,
) -> Trainee:
    """Build one fold's model and encode its rows; the arguments are those of `train_fold`."""
    objective = settings.objective.build(loss=settings.loss.build(n_outputs=n_outputs), n_outputs=n_outputs)
    texts = [*rows["text"], *rows["text_pair"].dropna()]
    parts = settings.source.build(texts=texts, max_length=settings.max_length, seed=derive_seed(seed, "encoder"))
    model = build_classifier(
        parts,
        pooling=settings.pooling,
        head=settings.head,
        n_outputs=n_outputs,
        seed=derive_seed(seed, "readout"),
    )
    fitted, inner = inner_split(rows.assign(position=np.arange(len(rows))), settings, seed)
    own = None if copies is None else copies_of(fitted, copies, inner)
    fitted = fitted if own is None else pd.concat([fitted, own], ignore_index=True)
    encoded = encode_rows(parts.tokenizer, fitted, settings)
    groups = parameter_groups(
        model.backbone,
        model.readout,
        learning_rate=settings.learning_rate,
        head_learning_rate=settings.head_learning_rate,
        layer_decay=settings.layer_decay,
        weight_decay=settings.weight_decay,
    )
    evaluate = None
    if inner is not None and metric is not None:
        evaluate = evaluation(encode_rows(parts.tokenizer, inner, settings), inner, n_outputs, settings, metric)
    trained = _trained(encoded, fitted, unlabelled, parts.tokenizer, objective=objective, settings=settings, seed=seed)
    n_copies = 0 if own is None else len(own)
    counts = {"n_rows": len(fitted), "n_copies": n_copies, "n_truncated": encoded.n_truncated}
    return Trainee(model, parts.tokenizer, groups, trained, evaluate, counts)


def train_fold(
    workspace: "Workspace",
    *,
    rows: pd.DataFrame,
    n_outputs: int,
    settings: "Encoder",
    metric: "Component | None",
    seed: int,
    copies: pd.DataFrame | None = None,
    unlabelled: pd.DataFrame | None = None,
) -> None:
    """Train one fold's model and write it, with its history, into the workspace's result.

    Args:
        workspace: where the result goes.
        rows: the fold's training rows: `text`, `text_pair`, `label` (int) and `cluster`.
        n_outputs: number of labels C.
        settings: the encoder and how it is trained.
        metric: the task's metric, which chooses the epoch where `epoch_selection` is inner.
        seed: of everything random.
        copies: of these rows: `parent` (position in rows), `text`, `text_pair` and `label`.
        unlabelled: `text, text_pair, variant, variant_pair` for objectives that read them.
    """
    made = build_trainee(
        rows=rows,
        n_outputs=n_outputs,
        settings=settings,
        metric=metric,
        seed=seed,
        copies=copies,
        unlabelled=unlabelled,
    )
    history = train(
        made.model,
        made.objective,
        made.groups,
        settings=settings,
        seed=derive_seed(seed, "training"),
        device=workspace.device,
        checkpoints=workspace.checkpoints,
        monitor=workspace,
        evaluate=made.evaluate,
    )
    save_classifier(made.model.cpu(), made.tokenizer, workspace.result, source=settings.source.name)
    record = {**asdict(history), **made.counts}
    (workspace.result / HISTORY).write_text(json.dumps(record), encoding="utf-8")


def copies_of(fitted: pd.DataFrame, copies: pd.DataFrame, inner: pd.DataFrame | None) -> pd.DataFrame:
    """Return the copies of the rows that are fitted: none of a row that helps to choose the epoch, and none like one."""
    own = copies[copies["parent"].isin(fitted["position"])]
    return own if inner is None else own[~normalised(own).isin(set(normalised(inner)))]


def _trained(
    encoded: Encoded,
    rows: pd.DataFrame,
    unlabelled: pd.DataFrame | None,
    tokenizer: Any,
    *,
    objective: Any,
    settings: "Encoder",
    seed: int,
) -> Any:
    """Return what the loop trains: the encoded rows under an objective, and what else that reads."""
    labelled = Classification(encoded, torch.tensor(rows["label"].tolist()), objective, special_ids(tokenizer))
    if unlabelled is None:
        return labelled
    variants = unlabelled[["variant", "variant_pair"]].set_axis(["text", "text_pair"], axis=1)
    originals, changed = (encode_rows(tokenizer, one, settings) for one in (unlabelled, variants))
    return WithUnlabelled(labelled, originals, changed, objective.ratio, derive_seed(seed, "unlabelled"))


def predict_fold(
    workspace: "Workspace",
    *,
    model: Path,
    rows: pd.DataFrame,
    settings: "Encoder",
    predictions: dict[str, Any],
) -> None:
    """Predict rows with one fold's model and write `predictions.parquet` into the workspace's result.

    Args:
        workspace: where the result goes.
        model: the folder of the fold's model.
        rows: `row_id, task, split, repeat, fold, text, text_pair` of the rows to predict.
        settings: truncation, lengths and precision.
        predictions: the other fields of `Predictions`.
    """
    classifier, tokenizer = load_classifier(model)
    accelerator = accelerator_for(settings.precision, workspace.device)
    classifier.to(accelerator.device)
    encoded = encode_rows(tokenizer, rows, settings)
    with accelerator.autocast():
        logits = predict_logits(classifier, encoded, settings.tokens_per_micro_batch, monitor=workspace)
    write_predictions(Predictions(rows=rows, logits=logits, **predictions), workspace.result / UNIT_PREDICTIONS)
