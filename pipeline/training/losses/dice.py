"""Dice loss, each row by itself: what the overlap of probabilities and label lacks to 1, so that sure rows count less.

Source: Li et al., Dice Loss for Data-imbalanced NLP Tasks, 2020, eq. 7 and 10, https://arxiv.org/abs/1911.02855
Differs from the paper: several classes, the mean over them, one against the rest.
"""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional

FORMS = ("class",)


def build(
    *, n_outputs: int, alpha: Annotated[float, Field(ge=0, lt=1)] = 0.01, smoothing: Annotated[float, Field(gt=0)] = 1.0
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (logits (B, C), labels (B,)) -> losses (B,), each in [0, 1).

    Args:
        n_outputs: number of labels C.
        alpha: how much less a sure row counts. The best probability is 1 / (1 + alpha): the authors take 0.01.
        smoothing: added above and below, so that classes without the label have a gradient.
    """

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        values = logits.to(torch.promote_types(logits.dtype, torch.float32))
        probabilities, targets = values.softmax(dim=-1), functional.one_hot(labels, n_outputs)  # (B, C)
        # Not 0: its power has no finite gradient there.
        unsure = (1 - probabilities).clamp(min=torch.finfo(values.dtype).eps)
        scaled = unsure.pow(alpha) * probabilities
        overlap = (2 * scaled * targets + smoothing) / (scaled + targets + smoothing)
        return (1 - overlap).mean(dim=-1)

    return loss
