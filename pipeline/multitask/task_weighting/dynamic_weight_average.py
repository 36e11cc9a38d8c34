"""Dynamic weight average: a task whose loss falls slowly weighs more.

Source: Liu et al., End-to-End Multi-Task Learning with Attention, 2019, eq. 7, https://arxiv.org/abs/1803.10704
Differs from the paper: losses are averaged over parts of the training, however many epochs it has, instead of over epochs.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from pipeline.multitask.task_weights import TaskWeights


class DynamicWeightAverage(TaskWeights):
    """K times the softmax of each task's ratio of its last two mean losses."""

    means: torch.Tensor
    sums: torch.Tensor
    n_done: torch.Tensor

    def __init__(self, tasks: Sequence[str], n_parts: int, temperature: float) -> None:
        super().__init__(tasks)
        self.n_parts, self.temperature = n_parts, temperature
        self.register_buffer("means", torch.ones(2, len(tasks)))  # of the part before the last, and of the last
        self.register_buffer("sums", torch.zeros(2, len(tasks)))  # of the part that runs: losses, and how many
        self.register_buffer("n_done", torch.zeros((), dtype=torch.int64))

    def weights(self) -> torch.Tensor:
        """Return the weights (K,), 1 each until two parts are done."""
        ratios = self.means[1] / self.means[0]
        return len(self.tasks) * (ratios / self.temperature).softmax(dim=0)

    def update(self, losses: torch.Tensor, progress: float) -> None:
        """Add up the losses; at a part's end take their means."""
        known = ~losses.isnan()
        self.sums += torch.stack([losses.nan_to_num(), known.to(losses)])
        if int(progress * self.n_parts) > int(self.n_done):
            seen = self.sums[1] > 0
            mean = torch.where(seen, self.sums[0] / self.sums[1].clamp(min=1), self.means[1])
            first = int(self.n_done) == 0  # then there is no ratio yet
            self.means.copy_(torch.stack([mean if first else self.means[1], mean]))
            self.sums.zero_()
            self.n_done += 1


def build(
    *,
    tasks: Sequence[str],
    n_parts: Annotated[int, Field(ge=2)] = 10,
    temperature: Annotated[float, Field(gt=0)] = 2.0,
) -> TaskWeights:
    """Return the weights.

    Args:
        tasks: in the order of the losses.
        n_parts: parts of the training over which losses are averaged.
        temperature: the higher, the more even.
    """
    return DynamicWeightAverage(tasks, n_parts, temperature)
