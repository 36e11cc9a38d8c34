"""Which epoch is kept: the split of the training rows that chooses it, and its score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import nn

from pipeline.contracts import Metric, TaskKind
from pipeline.data.fold_jobs import targets_of
from pipeline.models.batching import Inputs
from pipeline.models.prediction import predict_logits
from pipeline.params.encoders import Training
from pipeline.params.fields import Component
from pipeline.reproducibility import derive_seed


def inner_split(rows: pd.DataFrame, settings: Training, seed: int) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the rows to fit and, where the epoch is chosen, the rows that choose it; clusters stay whole.

    A function of the rows, the settings and the fold's seed: all encoders of a fold with one `inner_ratio` spare the same.
    """
    if settings.epoch_selection == "last":
        return rows, None
    from sklearn.model_selection import GroupShuffleSplit

    # By clusters: a near-duplicate among the fitted rows would reward learning by heart.
    splitter = GroupShuffleSplit(1, test_size=settings.inner_ratio, random_state=derive_seed(seed, "inner"))
    fitted, inner = next(splitter.split(rows, groups=rows["cluster"]))
    return rows.iloc[fitted].reset_index(drop=True), rows.iloc[inner].reset_index(drop=True)


@dataclass(frozen=True)
class EpochScorer:
    """What scores the predictions of inner rows."""

    kind: TaskKind
    metric: Metric

    def score(self, targets: np.ndarray, logits: np.ndarray) -> float:
        """Return the score of logits (N, C), higher is better."""
        return self.metric.sign * self.metric.score(targets, self.kind.values(logits))


def epoch_scorer(settings: Training, *, metric: Component, kind: TaskKind, labels: Sequence[str]) -> EpochScorer | None:
    """Return what scores the epochs of a task with these labels, or None where the last one is kept."""
    if settings.epoch_selection == "last":
        return None
    return EpochScorer(kind, metric.build(n_outputs=len(labels), decide=kind.decide))


def evaluation(
    read: Callable[[pd.DataFrame], Inputs], inner: pd.DataFrame | None, settings: Training, scorer: EpochScorer | None
) -> Callable[[nn.Module], float] | None:
    """Return the function that scores a model on the inner rows, higher is better; None where no epoch is chosen.

    `read` gives rows as the model reads them.
    """
    if inner is None or scorer is None:
        return None
    inputs, targets = read(inner), targets_of(inner)

    def evaluate(model: nn.Module) -> float:
        return scorer.score(targets, predict_logits(model, inputs, settings.tokens_per_micro_batch))

    return evaluate
