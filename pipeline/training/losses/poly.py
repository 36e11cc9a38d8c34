"""Poly-1 loss: cross-entropy plus a share of what the true label's probability lacks to 1.

Source: Leng et al., PolyLoss, 2022 (Poly-1), https://arxiv.org/abs/2204.12511
"""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional

FORMS = ("class",)


def build(*, epsilon: Annotated[float, Field(ge=-1)] = 1.0) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (logits (B, C), labels (B,)) -> losses (B,); epsilon 0 is cross-entropy."""

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        cross_entropy = functional.cross_entropy(precise, labels, reduction="none")  # (B,)
        return cross_entropy + epsilon * (1 - (-cross_entropy).exp())

    return loss
