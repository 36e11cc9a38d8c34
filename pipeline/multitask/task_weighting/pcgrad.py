"""PCGrad: of two task gradients that conflict each loses what points against the other.

The order in which gradients are projected is random, by torch.

Source: Yu et al., Gradient Surgery for Multi-Task Learning, 2020, algorithm 1, https://arxiv.org/abs/2001.06782
"""

from collections.abc import Sequence
from typing import Literal

from torchjd.aggregation import PCGradWeighting

from pipeline.multitask.task_weights import GramianWeights

NEEDS_ALL = True
LIBRARIES = ("torchjd",)


def build(*, tasks: Sequence[str], on: Literal["all", "last_layer"] = "all") -> GramianWeights:
    """Return the weights.

    Args:
        tasks: in the order of the losses.
        on: what gradients are compared on: all shared parameters, or the last shared layer, which is quicker.
    """
    return GramianWeights(tasks, on=on, by=PCGradWeighting())
