"""Binary cross-entropy of each of several labels, the mean over the labels of a row."""

from collections.abc import Callable

import torch
from torch.nn import functional

FORMS = ("multilabel",)


def build() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (logits (B, C), labels (B, C) of 0 and 1) -> losses (B,)."""

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
        losses = functional.binary_cross_entropy_with_logits(scores, labels.to(scores.dtype), reduction="none")
        return losses.mean(dim=-1)

    return loss
