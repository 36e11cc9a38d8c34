"""Logit squeezing: a penalty on the logits' squared norm, beside another loss in a weighted sum.

Source: Kannan et al., Adversarial Logit Pairing, 2018, section 3.2, https://arxiv.org/abs/1803.06373; Shafahi et al., Label
Smoothing and Logit Squeezing, 2019, https://arxiv.org/abs/1910.11585
"""

from collections.abc import Callable

import torch

PENALTY = True  # nothing learns from it alone


def build() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the penalty (logits (B, C), targets (B, …)) -> (B,), each the squared norm of the row's logits."""

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        values = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return values.square().sum(dim=-1)

    return loss
