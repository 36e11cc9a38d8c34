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
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        log_probability = precise.log_softmax(dim=-1).gather(1, labels.unsqueeze(1)).squeeze(1)  # (B,)
        # Not 0: below gamma 1 its power has no finite gradient there.
        unsure = (1 - log_probability.exp()).clamp(min=torch.finfo(precise.dtype).tiny)
        return unsure.pow(gamma) * -log_probability

    return loss
