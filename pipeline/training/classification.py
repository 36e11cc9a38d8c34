"""Labelled rows as something to train: batches, and the loss of a component of `objectives/`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.models.batching import Inputs


@dataclass(frozen=True)
class Classification:
    """What fine-tuning and stitching train: labelled rows and a component of `objectives/`, which gives their loss.

    With `special_ids` a batch of token ids says which of them stand for no word.
    """

    inputs: Inputs
    labels: torch.Tensor
    objective: Any
    special_ids: Sequence[int] | None = None

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row (N,)."""
        return self.inputs.lengths

    def batch(self, rows: np.ndarray, step: int) -> dict[str, torch.Tensor]:
        """Return the padded rows with their labels (B,), and `special_tokens_mask` (B, T) if the ids are known."""
        batch = {**self.inputs.batch(rows), "labels": self.labels[torch.from_numpy(rows)]}
        if self.special_ids is not None:
            special = torch.tensor(self.special_ids, dtype=torch.int64)
            batch["special_tokens_mask"] = torch.isin(batch["input_ids"], special)
        return batch

    def weights(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """Return the number of rows."""
        return {"loss": float(len(batch["labels"]))}

    def loss_sums(self, model: nn.Module, batch: dict[str, torch.Tensor], progress: float) -> dict[str, torch.Tensor]:
        """Return the summed loss."""
        return {"loss": self.objective(model, batch, progress)}
