"""Which epoch is kept: the split of the training rows that chooses it, and its score."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.models.batching import Inputs
from pipeline.models.prediction import predict_logits
from pipeline.reproducibility import derive_seed

if TYPE_CHECKING:
    from pipeline.params.encoders import Training
    from pipeline.params.fields import Component


def inner_split(rows: pd.DataFrame, settings: "Training", seed: int) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the rows to fit and, where the epoch is chosen, the rows that choose it; clusters stay whole.

    A function of the rows, the settings and the fold's seed: all encoders of a fold with one `inner_ratio` spare the same.
    """
    if settings.epoch_selection == "last":
        return rows, None
    from sklearn.model_selection import GroupShuffleSplit

    splitter = GroupShuffleSplit(1, test_size=settings.inner_ratio, random_state=derive_seed(seed, "inner"))
    fitted, inner = next(splitter.split(rows, groups=rows["cluster"]))
    return rows.iloc[fitted].reset_index(drop=True), rows.iloc[inner].reset_index(drop=True)


def evaluation(
    read: Callable[[pd.DataFrame], Inputs],
    inner: pd.DataFrame | None,
    n_outputs: int,
    settings: "Training",
    metric: "Component | None",
) -> Callable[[nn.Module], float] | None:
    """Return the function that scores a model on the inner rows, higher is better; None where no epoch is chosen.

    `read` gives rows as the model reads them.
    """
    if inner is None or metric is None:
        return None
    inputs = read(inner)
    scorer = metric.build(n_outputs=n_outputs)
    labels = inner["label"].to_numpy(np.int64)
    sign = 1 if scorer.higher_is_better else -1

    def evaluate(model: nn.Module) -> float:
        logits = predict_logits(model, inputs, settings.tokens_per_micro_batch)
        probabilities = torch.from_numpy(logits).double().softmax(dim=1).numpy()
        return float(sign * scorer.score(labels, probabilities))

    return evaluate
