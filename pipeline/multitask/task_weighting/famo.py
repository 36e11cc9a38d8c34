"""FAMO: weights under which the logarithms of all losses fall at one rate, from the losses alone.

Source: Liu et al., FAMO: Fast Adaptive Multitask Optimization, 2023, algorithm 1, https://arxiv.org/abs/2306.03792
Differs from the paper: how far a step lowered a loss is told from the task's next rows, not by a second pass over the
same ones, and a loss is divided by its last value, which is known before the pass.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from pipeline.multitask.task_weights import TaskWeights

SMALLEST = 1e-8


class Famo(TaskWeights):
    """c z_k / loss_k of softmax weights z, with c such that they sum up to 1."""

    logits: torch.Tensor
    last: torch.Tensor

    def __init__(self, tasks: Sequence[str], rate: float, decay: float) -> None:
        super().__init__(tasks)
        self.rate, self.decay = rate, decay
        self.register_buffer("logits", torch.zeros(len(tasks)))
        self.register_buffer("last", torch.full((len(tasks),), torch.nan))

    def weights(self) -> torch.Tensor:
        """Return the weights (K,), equal ones until all tasks were seen; their sum is 1."""
        if self.last.isnan().any():
            return self.ones / len(self.tasks)
        shares = self.logits.softmax(dim=0) / (self.last + SMALLEST)
        weights: torch.Tensor = shares / shares.sum()
        return weights

    def update(self, losses: torch.Tensor, progress: float) -> None:
        """Take a step against the tasks whose logarithm fell most."""
        fallen = ((self.last + SMALLEST).log() - (losses + SMALLEST).log()).nan_to_num()  # (K,)
        shares = self.logits.softmax(dim=0)
        slope = shares * (fallen - (shares * fallen).sum())  # the softmax's Jacobian, transposed
        self.logits -= self.rate * (slope + self.decay * self.logits)
        self.last.copy_(torch.where(losses.isnan(), self.last, losses))


def build(
    *,
    tasks: Sequence[str],
    rate: Annotated[float, Field(gt=0)] = 0.025,
    decay: Annotated[float, Field(ge=0)] = 0.001,
) -> TaskWeights:
    """Return the weights.

    Args:
        tasks: in the order of the losses.
        rate: learning rate of the logits.
        decay: their regularisation.
    """
    return Famo(tasks, rate, decay)
