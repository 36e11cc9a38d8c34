"""MGDA: the shared gradient is the shortest combination of those of the tasks, which lowers all losses or none.

Source: Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, 2018, algorithm 2, https://arxiv.org/abs/1810.04650
"""

from collections.abc import Sequence
from typing import Literal

from torchjd.aggregation import MGDAWeighting

from pipeline.multitask.task_weights import GramianWeights

NEEDS_ALL = True
LIBRARIES = ("torchjd",)


def build(*, tasks: Sequence[str], on: Literal["all", "last_layer"] = "all") -> GramianWeights:
    """Return the weights.

    Args:
        tasks: in the order of the losses.
        on: what gradients are compared on: all shared parameters, or the last shared layer, which is quicker.
    """
    return GramianWeights(tasks, on=on, by=MGDAWeighting())
