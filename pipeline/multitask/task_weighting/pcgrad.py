"""PCGrad: of two task gradients that conflict each loses what points against the other.

Source: Yu et al., Gradient Surgery for Multi-Task Learning, 2020, algorithm 1, https://arxiv.org/abs/2001.06782
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torchjd.aggregation import PCGradWeighting

from pipeline.multitask.task_weights import GradientWeights

NEEDS_ALL = True
LIBRARIES = ("torchjd",)


class PcGrad(GradientWeights):
    """Factors that stand for the projected gradients, added up; the order of the projections is random, by torch."""

    def combine(self, gramian: torch.Tensor, present: Sequence[int]) -> torch.Tensor:
        """Return the factors (P,)."""
        factors: torch.Tensor = PCGradWeighting()(gramian)
        return factors


def build(*, tasks: Sequence[str], on: Literal["all", "last_layer"] = "all") -> GradientWeights:
    """Return the weights.

    Args:
        tasks: in the order of the losses.
        on: what gradients are compared on: all shared parameters, or the last shared layer, which is quicker.
    """
    return PcGrad(tasks, on=on)
