"""MGDA: the shared gradient is the shortest combination of those of the tasks, which lowers all losses or none.

Source: Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, 2018, algorithm 2, https://arxiv.org/abs/1810.04650
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torchjd.aggregation import MGDAWeighting

from pipeline.multitask.task_weights import GradientWeights

NEEDS_ALL = True
LIBRARIES = ("torchjd",)


class Mgda(GradientWeights):
    """Factors of the least norm, which sum up to 1."""

    def combine(self, gramian: torch.Tensor, present: Sequence[int]) -> torch.Tensor:
        """Return the factors (P,)."""
        factors: torch.Tensor = MGDAWeighting()(gramian)
        return factors


def build(*, tasks: Sequence[str], on: Literal["all", "last_layer"] = "all") -> GradientWeights:
    """Return the weights.

    Args:
        tasks: in the order of the losses.
        on: what gradients are compared on: all shared parameters, or the last shared layer, which is quicker.
    """
    return Mgda(tasks, on=on)
