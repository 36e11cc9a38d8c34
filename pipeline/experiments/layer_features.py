"""What each layer of a frozen encoder knows of a text, as one vector, and a linear model of it that never saw the fold.

Source: Devlin et al., BERT, 2019, section 5.3 and table 7, https://arxiv.org/abs/1810.04805 (layers and mixes as features).
Differs from the paper: token states are pooled, and a linear model is in the place of its BiLSTM.
"""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.artifacts.predictions import Predictions, write_predictions
from pipeline.contracts import TaskKind
from pipeline.errors.exceptions import DivergedError
from pipeline.models.accelerators import accelerator_for
from pipeline.models.batching import encode_rows
from pipeline.models.prediction import outputs_of
from pipeline.params.fields import Component
from pipeline.stitch.states import Base, hidden_size
from pipeline.units.execution import Workspace

FEATURES = "features.npy"
# Of standardised features. On MiniLM's layers the best one differs tenfold, and under one for all the last layer came last.
INVERSE_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
N_SPLITS = 3
MOST_ITERATIONS = 100
ABSENT = 1e-6  # probability of a label that no training row had


class LayerVectors(nn.Module):
    """Stands in a classifier's place of the readout and hands out a vector of each layer's states, by one pooling."""

    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        return torch.stack(
            [self.pooling((states,), attention_mask) for states in hidden_states], dim=1
        )  # (B, L + 1, V)


def extract_layers(workspace: Workspace, *, base: Base, rows: pd.DataFrame, pooling: Component) -> None:
    """Write the vectors of all layers, float32 (N, L + 1, V), of rows (`text`, `text_pair`) into the workspace's result.

    Raises:
        DivergedError: if one is not finite.
    """
    model, tokenizer = base.load()
    model.readout = LayerVectors(pooling.build(hidden_size=hidden_size(model), n_layers=1))
    encoded = encode_rows(tokenizer, rows, base.settings)
    accelerator = accelerator_for(base.settings.precision, workspace.device)
    model.to(accelerator.device)
    with accelerator.autocast():
        parts = outputs_of(model, encoded, base.settings.tokens_per_micro_batch, monitor=workspace)
        places, vectors = zip(*((part, outputs.cpu().numpy()) for part, outputs in parts), strict=True)
    features = np.concatenate(vectors)[np.argsort(np.concatenate(places))]
    if not np.isfinite(features).all():
        raise DivergedError(f"layers of {base.encoder}: must be finite, got NaN or infinity. Use precision fp32.")
    np.save(workspace.result / FEATURES, features)


def candidates(n_states: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return by name what is tried of vectors (N, L + 1, V): each layer alone, means, and the last four side by side.

    >>> list(candidates(3))
    ['embeddings', 'layer 1', 'layer 2', 'mean of all layers']
    """
    tried: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        layer_name(number): partial(np.take, indices=number, axis=1) for number in range(n_states)
    }
    tried["mean of all layers"] = lambda vectors: vectors.mean(axis=1)
    if n_states > 5:
        tried["mean of the last four"] = lambda vectors: vectors[:, -4:].mean(axis=1)
        tried["last four side by side"] = lambda vectors: vectors[:, -4:].reshape(len(vectors), -1)
    return tried


def layer_name(number: int) -> str:
    """Return what a layer is called, 0 being the embeddings."""
    return f"layer {number}" if number else "embeddings"


def score_layers(
    workspace: Workspace,
    *,
    features: Path,
    fitted: np.ndarray,
    targets: np.ndarray,
    clusters: np.ndarray,
    scored: np.ndarray,
    rows: pd.DataFrame,
    kind: TaskKind,
    n_values: int,
    fields: dict[str, Any],
) -> None:
    """Fit a linear model per candidate on a fold's training rows and write its predictions of the fold, `<number>.parquet`.

    Args:
        features: the folder of the vectors of all rows.
        fitted, scored: places of the fold's training rows, which have `targets` and `clusters`, and of those it
            predicts, `rows`.
        kind, n_values: of the task.
        fields: the other ones of `Predictions`, but the model, which is called by the candidate.
    """
    vectors = np.load(features / FEATURES, mmap_mode="r")
    for number, (name, taken) in enumerate(candidates(vectors.shape[1]).items()):
        known, size = taken(vectors[fitted]), {"n_values": n_values}
        penalty = best_penalty(known, targets, clusters, **size)
        values = fit_and_predict(known, targets, taken(vectors[scored]), inverse_penalty=penalty, **size)
        predictions = Predictions(model=name, rows=rows, logits=kind.logits(values), **fields)
        write_predictions(predictions, workspace.result / f"{number}.parquet")
        workspace.progress(step=number + 1, n_steps=len(candidates(vectors.shape[1])))


def best_penalty(fitted: np.ndarray, targets: np.ndarray, clusters: np.ndarray, *, n_values: int) -> float:
    """Return the inverse penalty that tells rows (N, F) of other clusters (N,) best, in three parts of them."""
    from sklearn.model_selection import GroupKFold

    n_splits = min(N_SPLITS, len(np.unique(clusters)))
    if n_splits < 2:
        return INVERSE_PENALTIES[0]
    splits = list(GroupKFold(n_splits).split(fitted, groups=clusters))
    losses = [
        sum(
            loss(
                fit_and_predict(fitted[a], targets[a], fitted[b], n_values=n_values, inverse_penalty=penalty),
                targets[b],
            )
            for a, b in splits
        )
        for penalty in INVERSE_PENALTIES
    ]
    return INVERSE_PENALTIES[int(np.argmin(losses))]


def loss(values: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean of -log of what probabilities (N, V) say of targets, or of numbers' squares in those of deviations.

    >>> even = np.array([[0.5, 0.5]])
    >>> round(loss(even, np.array([1])), 3), round(loss(even, np.array([[1, 0]])), 3)
    (0.693, 0.693)
    """
    if np.issubdtype(targets.dtype, np.floating):
        of_columns = (values - targets) ** 2 / np.maximum(np.nanvar(targets, axis=0), np.finfo(float).tiny)
        return float(np.nanmean(of_columns))
    said = values[np.arange(len(values)), targets] if targets.ndim == 1 else np.where(targets > 0, values, 1 - values)
    return float(-np.mean(np.log(said)))


def fit_and_predict(
    fitted: np.ndarray, targets: np.ndarray, scored: np.ndarray, *, n_values: int, inverse_penalty: float
) -> np.ndarray:
    """Return values (M, V) of features (M, F) by a regularised linear model of standardised features (N, F).

    It is a logistic regression for int targets (N,), one per label for 0 and 1 (N, V), a ridge regression per column of
    numbers (N, V), on the rows where there is one.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    several, model = targets.ndim == 2, LogisticRegression(C=inverse_penalty, max_iter=MOST_ITERATIONS)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Label .* is present in all training examples")
        values = np.zeros((len(scored), n_values))
        if np.issubdtype(targets.dtype, np.floating):
            ridge = make_pipeline(
                StandardScaler(), Ridge(4 / inverse_penalty)
            )  # a row weighs up to 1/4 in a logistic one
            for number, column in enumerate(targets.T):
                known = ~np.isnan(column)
                if known.any():
                    values[:, number] = ridge.fit(fitted[known], column[known]).predict(scored)
            return values
        logistic = make_pipeline(StandardScaler(), OneVsRestClassifier(model) if several else model)
        present = np.arange(n_values) if several else np.unique(targets)
        values[:, present] = logistic.fit(fitted, targets).predict_proba(scored) if len(present) > 1 else 1.0
    values = values.clip(ABSENT, 1 - ABSENT)
    return values if several else values / values.sum(axis=1, keepdims=True)
