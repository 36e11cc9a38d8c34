"""R-Drop: every row passes twice, under two dropouts, whose predictions must agree.

Source: Liang et al., R-Drop: Regularized Dropout for Neural Networks, 2021, section 2.1, https://arxiv.org/abs/2106.14448
Differs from the paper: the two losses are averaged where it adds them, so `alpha` here is half of its own.
"""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field

from pipeline.training.divergences import symmetric_kl

FORMS = ("class",)
READS = "logits"


def build(
    *, loss: Callable[..., torch.Tensor], alpha: Annotated[float, Field(ge=0)] = 0.5
) -> Callable[[Any, dict[str, torch.Tensor], float], torch.Tensor]:
    """Return the objective (model, batch, progress) -> summed loss. A step costs as much as two plain ones.

    Args:
        loss: of logits and labels.
        alpha: weight of the mean of both Kullback-Leibler divergences.
    """

    def loss_sum(model: Any, batch: dict[str, torch.Tensor], progress: float) -> torch.Tensor:
        first, second = model(batch), model(batch)
        labels = batch["labels"]
        losses = (loss(first, labels) + loss(second, labels)) / 2
        return (losses + alpha / 2 * symmetric_kl(first, second)).sum()

    return loss_sum
