"""Uncertainty: each task has a variance that is learned, by which its loss is divided; the noisier, the less it weighs.

Source: Kendall et al., Multi-Task Learning Using Uncertainty to Weigh Losses, 2018, eq. 7 and 10, https://arxiv.org/abs/1705.07115
As there, s = log variance is what is learned: exp(-s) / 2 weighs a loss, s / 2 is added.
"""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.multitask.task_weights import TaskWeights


class Uncertainty(TaskWeights):
    """Weights of half the inverse variances."""

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(tasks)
        self.log_variance = nn.Parameter(torch.zeros(len(tasks)))

    def weights(self) -> torch.Tensor:
        """Return exp(-s) / 2 (K,)."""
        return (-self.log_variance).exp() / 2

    def added(self) -> torch.Tensor:
        """Return the sum of s / 2."""
        return self.log_variance.sum() / 2


def build(*, tasks: Sequence[str]) -> TaskWeights:
    """Return weights that learn at the rate of the readouts."""
    return Uncertainty(tasks)
