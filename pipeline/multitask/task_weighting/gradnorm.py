"""GradNorm: weights under which a task that trains slowly has the larger gradient.

Source: Chen et al., GradNorm: Gradient Normalization for Adaptive Loss Balancing, 2018, algorithm 1, https://arxiv.org/abs/1711.02257
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field

from pipeline.multitask.task_weights import GradientWeights

NEEDS_ALL = True
SMALLEST = 1e-3  # of a weight: below zero a task would be unlearned


class GradNorm(GradientWeights):
    """Weights that learn, of mean 1."""

    learned: torch.Tensor
    first: torch.Tensor

    def __init__(self, tasks: Sequence[str], on: str, alpha: float, rate: float) -> None:
        super().__init__(tasks, on=on)
        self.alpha, self.rate = alpha, rate
        self.register_buffer("learned", torch.ones(len(tasks)))
        self.register_buffer("first", torch.full((len(tasks),), torch.nan))

    def weights(self) -> torch.Tensor:
        """Return the weights (K,)."""
        return self.learned

    def combine(self, gramian: torch.Tensor, present: Sequence[int]) -> torch.Tensor:
        """Keep the norms of the weighted gradients for `update`; add up the gradients."""
        self.norms, self.present = gramian.diagonal().sqrt().to(self.learned), list(present)
        return super().combine(gramian, present)

    def update(self, losses: torch.Tensor, progress: float) -> None:
        """Take a step of the weights towards norms in proportion to (relative inverse training rate)^alpha."""
        self.first.copy_(torch.where(self.first.isnan(), losses, self.first))
        here, mean = self.present, self.norms.mean()
        if not mean > 0:
            return
        ratios = (losses / self.first)[here]
        wanted = mean * (ratios / ratios.mean()) ** self.alpha
        # The slope of the sum of |norm - wanted|, with norm = weight * |gradient|; by their mean it knows no scale.
        slope = (self.norms - wanted).sign() * self.norms / self.learned[here] / mean
        moved = self.learned.clone()
        moved[here] = (self.learned[here] - self.rate * slope).clamp(min=SMALLEST)
        self.learned.copy_(len(self.tasks) * moved / moved.sum())


def build(
    *,
    tasks: Sequence[str],
    on: Literal["all", "last_layer"] = "last_layer",
    alpha: Annotated[float, Field(ge=0)] = 1.5,
    rate: Annotated[float, Field(gt=0)] = 0.025,
) -> GradientWeights:
    """Return the weights.

    Args:
        tasks: in the order of the losses.
        on: what gradients are measured on: all shared parameters, or the last shared layer as in the paper.
        alpha: how strongly slow tasks are pulled along.
        rate: learning rate of the weights.
    """
    return GradNorm(tasks, on, alpha, rate)
