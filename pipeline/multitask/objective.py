"""Several tasks as one thing to train: their rows one after another, a loss for each task."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import nn

from pipeline.multitask.shared_model import SharedModel
from pipeline.training.classification import Classification

PENALTY = "+sharing"  # the name of what a way of sharing adds to the losses: no task has such a one


class MultiTask:
    """An `Objective`: the rows of each task stand after those of the tasks before it.

    In a batch the tensors of a task bear its name before theirs; tasks without a row in it have none. A task's classifier
    reads its rows by themselves, so they are predicted alike whatever stands beside them.
    """

    def __init__(self, parts: Mapping[str, Classification]) -> None:
        self.parts = dict(parts)
        self.starts = np.cumsum([0, *(len(part.lengths) for part in parts.values())])
        self.lengths = np.concatenate([part.lengths for part in parts.values()])

    def batch(self, rows: np.ndarray, step: int) -> dict[str, torch.Tensor]:
        """Return the tensors of rows (B,) of any task."""
        batch: dict[str, torch.Tensor] = {}
        for number, (task, part) in enumerate(self.parts.items()):
            own = rows[(rows >= self.starts[number]) & (rows < self.starts[number + 1])] - self.starts[number]
            if len(own):
                batch |= {f"{task}:{name}": tensor for name, tensor in part.batch(own, step).items()}
        return batch

    def weights(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """Return the number of rows of each task that has any, and of all for the penalty."""
        n_rows = {task: float(n) for task, n in _row_counts(batch).items()}
        return {**n_rows, PENALTY: sum(n_rows.values())}

    def loss_sums(self, model: nn.Module, batch: dict[str, torch.Tensor], progress: float) -> dict[str, torch.Tensor]:
        """Return the summed loss of each task, and the penalty of the way of sharing, if it has one."""
        shared, n_rows = cast(SharedModel, model), _row_counts(batch)
        sums = {}
        for task in n_rows:
            own = {name.removeprefix(f"{task}:"): tensor for name, tensor in batch.items() if _task_of(name) == task}
            with shared.pass_of(task):
                losses = self.parts[task].loss_sums(shared.classifiers[task], own, progress)
            sums[task] = torch.stack(list(losses.values())).sum()
        penalty = shared.penalty(shared.classifiers, n_rows)
        return sums if penalty is None else {**sums, PENALTY: penalty}


def _task_of(name: str) -> str:
    return name.partition(":")[0]


def _row_counts(batch: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Return how many rows of each task are in a batch."""
    return {_task_of(name): len(tensor) for name, tensor in batch.items() if name.endswith(":labels")}
