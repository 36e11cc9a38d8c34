"""Dynamic task prioritisation: the worse a task is done, the more it weighs, as the focal loss weighs rows.

Source: Guo et al., Dynamic Task Prioritization for Multitask Learning, 2018, eq. 2 and 4,
https://doi.org/10.1007/978-3-030-01270-0_17
Differs from the paper, where a metric says how well a task is done: here exp(-loss) does, for cross-entropy the geometric
mean of the probability that a true label is given. Weights are scaled to a mean of 1.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from pipeline.multitask.task_weights import TaskWeights


class DynamicTaskPrioritisation(TaskWeights):
    """-(1 - k)^gamma log k of each task's k, a moving average in (0, 1)."""

    performance: torch.Tensor

    def __init__(self, tasks: Sequence[str], gamma: float, decay: float) -> None:
        super().__init__(tasks)
        self.gamma, self.decay = gamma, decay
        self.register_buffer("performance", torch.full((len(tasks),), torch.nan))

    def weights(self) -> torch.Tensor:
        """Return the weights (K,), 1 each until all tasks were seen."""
        if self.performance.isnan().any():
            return self.ones
        known = self.performance.clamp(1e-6, 1 - 1e-6)
        priorities = -((1 - known) ** self.gamma) * known.log()
        return priorities / priorities.mean()

    def update(self, losses: torch.Tensor, progress: float) -> None:
        """Move the averages towards exp(-loss)."""
        now = (-losses).exp()
        moved = torch.where(self.performance.isnan(), now, self.decay * self.performance + (1 - self.decay) * now)
        self.performance.copy_(torch.where(now.isnan(), self.performance, moved))


def build(
    *,
    tasks: Sequence[str],
    gamma: Annotated[float, Field(ge=0)] = 1.0,
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.9,
) -> TaskWeights:
    """Return the weights.

    Args:
        tasks: in the order of the losses.
        gamma: how far what is done well weighs less.
        decay: of the moving averages.
    """
    return DynamicTaskPrioritisation(tasks, gamma, decay)
