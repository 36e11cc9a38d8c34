"""Fixed weights, given by task."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from pipeline.multitask.task_weights import TaskWeights

NAMES_TASKS = "weights"


class Fixed(TaskWeights):
    """Weights that stay as they are given."""

    def __init__(self, tasks: Sequence[str], weights: dict[str, float]) -> None:
        super().__init__(tasks)
        self.register_buffer("ones", torch.tensor([weights.get(task, 1.0) for task in tasks]), persistent=False)


def build(*, tasks: Sequence[str], weights: dict[str, Annotated[float, Field(ge=0)]] = {}) -> TaskWeights:  # noqa: B006
    """Return the weights; 1 for a task that is not named.

    Args:
        tasks: in the order of the losses.
        weights: by task.
    """
    return Fixed(tasks, weights)
