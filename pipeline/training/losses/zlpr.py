"""ZLPR: every label that a row has must score above zero, and every other below; zero is the threshold of all.

Source: Su et al., ZLPR: A Novel Loss for Multi-label Classification, 2022, eq. 5, https://arxiv.org/abs/2208.02955. It is
softmax cross-entropy with several right labels: log(1 + sum of exp(-s) of them) + log(1 + sum of exp(s) of the others).
"""

from collections.abc import Callable

import torch

FORMS = ("multilabel",)


def build() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (logits (B, C), labels (B, C) of 0 and 1) -> losses (B,)."""

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
        zero, out = torch.zeros_like(scores[:, :1]), torch.finfo(scores.dtype).min  # the threshold; what takes no part
        right = torch.cat([zero, (-scores).masked_fill(labels == 0, out)], dim=1)  # (B, 1 + C)
        wrong = torch.cat([zero, scores.masked_fill(labels != 0, out)], dim=1)
        return right.logsumexp(dim=1) + wrong.logsumexp(dim=1)

    return loss
