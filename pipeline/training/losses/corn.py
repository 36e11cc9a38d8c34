"""CORN: binary cross-entropy of each step up the order of labels, among the rows that reach it: P(y > k) given y > k - 1.

Source: Shi, Cao & Raschka, Deep Neural Networks for Rank-Consistent Ordinal Regression Based On Conditional Probabilities,
2021, https://arxiv.org/abs/2111.08851
Differs from the paper: a row's steps are summed, which makes its loss -log P(y); the paper takes the mean over all steps of
all rows of a batch.
"""

from collections.abc import Callable

import torch
from torch.nn import functional

FORMS = ("rank",)


def build() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (logits (B, C - 1), labels (B,) in [0, C)) -> losses (B,)."""

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
        steps, places = torch.arange(scores.shape[1], device=scores.device), labels.unsqueeze(1)
        taken, reached = places > steps, places >= steps  # (B, C - 1)
        losses = functional.binary_cross_entropy_with_logits(scores, taken.to(scores.dtype), reduction="none")
        return (losses * reached).sum(dim=-1)

    return loss
