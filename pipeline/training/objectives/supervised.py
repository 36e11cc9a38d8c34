"""The plain objective: the loss of every labelled row."""

from collections.abc import Callable
from typing import Any

import torch


def build(*, loss: Any) -> Callable[[Any, dict[str, torch.Tensor], float], torch.Tensor]:
    """Return the objective (model, batch, progress) -> summed loss."""

    def loss_sum(model: Any, batch: dict[str, torch.Tensor], progress: float) -> torch.Tensor:
        total: torch.Tensor = loss(model(batch), batch["labels"]).sum()
        return total

    return loss_sum
