"""Batches over the rows of several tasks, of one task each or mixed: a function of the seed and the epoch only."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.errors.exceptions import ParamsError
from pipeline.models.batching import WINDOW_BATCHES, epoch_batches
from pipeline.params.encoders import TaskBatches
from pipeline.reproducibility import derive_seed


def check_batches(counts: Sequence[int], *, batch_size: int) -> None:
    """See that an epoch has a batch for each task, given the rows of each.

    Raises:
        ParamsError: if it has not.
    """
    if sum(counts) <= batch_size * (len(counts) - 1):
        raise ParamsError(
            f"batch_size: must leave a batch for each of {len(counts)} tasks, got {batch_size} of {sum(counts)} rows. "
            "Lower it.",
            code="E203",
        )


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
    exact = total * shares
    whole = np.maximum(np.floor(exact).astype(np.int64), 1)
    while whole.sum() < total:
        whole[np.argmax(exact - whole)] += 1
    while whole.sum() > total:  # the ones that were raised to 1
        whole[np.argmax(np.where(whole > 1, whole - exact, -np.inf))] -= 1
    return whole


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
