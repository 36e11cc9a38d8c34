"""Several tasks as one thing to train: their rows one after another, batches over them, a loss for each task."""

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from torch import nn

from pipeline.errors.exceptions import ParamsError
from pipeline.models.batching import WINDOW_BATCHES, epoch_batches
from pipeline.models.shared import SharedModel
from pipeline.params.encoders import TaskBatches
from pipeline.reproducibility import derive_seed
from pipeline.training.classification import Classification

PENALTY = "sharing"  # the name of what a way of sharing adds to the losses


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
            losses = self.parts[task].loss_sums(shared.classifiers[task], own, progress)
            sums[task] = torch.stack(list(losses.values())).sum()
        penalty = shared.penalty(shared.classifiers, n_rows)
        return sums if penalty is None else {**sums, PENALTY: penalty}


def _task_of(name: str) -> str:
    return name.partition(":")[0]


def _row_counts(batch: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Return how many rows of each task are in a batch."""
    return {_task_of(name): len(tensor) for name, tensor in batch.items() if name.endswith(":labels")}


def batches_over_tasks(
    counts: Mapping[str, int], settings: TaskBatches, *, epochs: int
) -> Callable[..., list[np.ndarray]]:
    """Return what makes the batches of an epoch, as `epoch_batches` does for one task: a function of seed and epoch.

    An epoch has as many batches as all rows together fill. A task's share of them is its number of rows to the power of
    1 / temperature (1: as they are, 2: square roots). Where it takes more rows than it has, or fewer, it goes on from
    where the last epoch ended: in the long run all its rows are seen equally often.

    Source: Stickland and Murray, BERT and PALs, 2019, section 3.4 (annealed sampling), https://arxiv.org/abs/1902.02671

    Args:
        counts: rows of each task.
        settings: one task per batch or all mixed, temperature, and whether it falls to 1 towards the last epoch.
        epochs: of the training.
    """
    sizes = np.array(list(counts.values()))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def shares(epoch: int) -> np.ndarray:
        left = 1 - epoch / max(epochs - 1, 1) if settings.annealed else 1.0
        powers = sizes ** (1 / (1 + (settings.temperature - 1) * left))
        return np.asarray(powers / powers.sum())

    def batches(lengths: np.ndarray, *, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
        n_batches = -(-len(lengths) // batch_size)
        if n_batches < len(sizes):
            raise ParamsError(
                f"batch_size: must leave a batch for each of {len(sizes)} tasks, got {batch_size} of {len(lengths)} rows. "
                "Lower it."
            )
        # A batch of one task is full; mixed, all batches together have as many rows as there are.
        unit, total = (1, len(lengths)) if settings.mixed else (batch_size, n_batches)
        taken = [unit * _apportioned(total, shares(past)) for past in range(epoch + 1)]
        first = np.stack([0 * taken[0], *taken[:-1]]).sum(axis=0)
        rows = [
            starts[task] + _stream(sizes[task], first[task], taken[-1][task], derive_seed(seed, "rows", task))
            for task in range(len(sizes))
        ]
        orders = [derive_seed(seed, "order", task) for task in range(len(sizes))]
        if settings.mixed:
            parts = [_cut(own, lengths, n_batches, order, epoch) for own, order in zip(rows, orders, strict=True)]
            return [np.concatenate(of_batch) for of_batch in zip(*parts, strict=True)]
        made = [
            own[batch]
            for own, order in zip(rows, orders, strict=True)
            for batch in epoch_batches(lengths[own], batch_size=batch_size, seed=order, epoch=epoch)
        ]
        order = np.random.default_rng(derive_seed(seed, "tasks", epoch)).permutation(len(made))
        return [made[place] for place in order]

    return batches


def _apportioned(total: int, shares: np.ndarray) -> np.ndarray:
    """Return whole numbers that sum up to a total, near its shares, each at least 1: by the largest remainders.

    >>> _apportioned(10, np.array([0.55, 0.44, 0.01])).tolist()
    [5, 4, 1]
    """
    spare = total - len(shares)
    exact = spare * shares
    whole = np.floor(exact).astype(np.int64)
    most = np.argsort(whole - exact, kind="stable")[: spare - int(whole.sum())]
    whole[most] += 1
    return np.asarray(whole + 1)


def _stream(size: int, first: int, n: int, seed: int) -> np.ndarray:
    """Return n rows from a place on of an endless row of permutations of `size` rows."""
    passes = range(first // size, (first + n - 1) // size + 1)
    orders = [np.random.default_rng(derive_seed(seed, number)).permutation(size) for number in passes]
    begin = first - passes[0] * size
    return np.concatenate(orders)[begin : begin + n]


def _cut(rows: np.ndarray, lengths: np.ndarray, n_parts: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return rows in so many parts, those of a part of like length, parts in random order."""
    generator = np.random.default_rng(derive_seed(seed, "parts", epoch))
    window = -(-len(rows) * WINDOW_BATCHES // n_parts)
    windows = [rows[start : start + window] for start in range(0, len(rows), window)]
    ordered = np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in windows])
    parts = np.array_split(ordered, n_parts)
    return [parts[place] for place in generator.permutation(n_parts)]
