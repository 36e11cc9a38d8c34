"""The plain objective: the loss of every labelled row."""

from collections.abc import Callable
from typing import Any

import torch

READS = "logits"


def build(*, loss: Callable[..., torch.Tensor]) -> Callable[[Any, dict[str, torch.Tensor], float], torch.Tensor]:
    """Return the objective (model, batch, progress) -> summed loss."""

    def loss_sum(model: Any, batch: dict[str, torch.Tensor], progress: float) -> torch.Tensor:
        return loss(model(batch), batch["labels"]).sum()

    return loss_sum
