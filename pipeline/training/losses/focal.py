"""Focal loss: cross-entropy that weighs down the rows already classified well.

Source: Lin et al., Focal Loss for Dense Object Detection, 2017, eq. 4, https://arxiv.org/abs/1708.02002
Differs from the paper: several classes.
"""

from collections.abc import Callable

import torch

from pipeline.ranges import NotNegativeFloat

FORMS = ("class",)


def build(*, gamma: NotNegativeFloat = 2.0) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (logits (B, C), labels (B,)) -> losses (B,); gamma 0 is cross-entropy."""

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        log_probability = logits.float().log_softmax(dim=-1).gather(1, labels.unsqueeze(1)).squeeze(1)  # (B,)
        return (1 - log_probability.exp()).pow(gamma) * -log_probability

    return loss
