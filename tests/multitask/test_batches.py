"""Batches over tasks: all rows seen, shares as asked for, the same for a seed and epoch; and what a batch of two tasks is."""

import numpy as np
import pytest
import torch

from pipeline.base_models.shared_training import TaskRows, build_shared_trainee
from pipeline.errors.exceptions import ParamsError
from pipeline.multitask.batches import batches_over_tasks, check_batches
from pipeline.params.encoders import TaskBatches
from tests.small import encoder, frame

COUNTS = {"large": 300, "middle": 90, "small": 30}
TASK_OF = np.repeat([0, 1, 2], list(COUNTS.values()))
LENGTHS = np.random.default_rng(0).integers(4, 60, len(TASK_OF))


def epochs_of(n_epochs: int, **settings: object) -> list[list[np.ndarray]]:
    chosen = TaskBatches.model_validate(settings)
    batches = batches_over_tasks(COUNTS, chosen, epochs=n_epochs)
    return [batches(LENGTHS, batch_size=10, seed=1, epoch=epoch) for epoch in range(n_epochs)]


def rows_by_task(batches: list[np.ndarray]) -> list[int]:
    return np.bincount(TASK_OF[np.concatenate(batches)], minlength=3).tolist()


@pytest.mark.parametrize("mixed", [False, True])
def test_an_epoch_as_the_rows_are_sees_every_row_once(mixed: bool) -> None:
    for batches in epochs_of(3, mixed=mixed):
        assert len(batches) == 42 and sorted(np.concatenate(batches)) == list(range(420))


def test_a_batch_is_of_one_task_or_of_all() -> None:
    assert all(len(set(TASK_OF[batch])) == 1 and len(batch) == 10 for batch in epochs_of(1)[0])
    assert sum(len(set(TASK_OF[batch])) == 3 for batch in epochs_of(1, mixed=True)[0]) >= 30


@pytest.mark.parametrize("mixed", [False, True])
def test_with_a_temperature_small_tasks_have_more_and_every_row_is_seen_as_often_as_the_others(mixed: bool) -> None:
    epochs = epochs_of(12, mixed=mixed, temperature=2)
    shares = np.sqrt(list(COUNTS.values()))
    first = np.array(rows_by_task(epochs[0]))
    assert first.sum() == 420 and np.abs(first / 420 - shares / shares.sum()).max() < 0.03
    seen = np.bincount(np.concatenate([row for batches in epochs for row in batches]), minlength=420)
    for task in range(3):
        assert np.ptp(seen[task == TASK_OF]) <= 1 and seen[task == TASK_OF].min() >= 1


def test_annealed_the_last_epoch_is_as_the_rows_are() -> None:
    epochs = epochs_of(4, temperature=4, annealed=True)
    small = [rows_by_task(batches)[2] for batches in epochs]
    assert small == sorted(small, reverse=True) and small[0] > 60 and rows_by_task(epochs[-1]) == [300, 90, 30]


def test_batches_are_a_function_of_seed_and_epoch_and_of_like_length() -> None:
    again, other = epochs_of(2), epochs_of(2)
    assert all(
        np.array_equal(a, b) for one, two in zip(again, other, strict=True) for a, b in zip(one, two, strict=True)
    )
    assert not all(np.array_equal(a, b) for a, b in zip(*again, strict=True))
    for mixed in (False, True):
        within = [LENGTHS[batch[TASK_OF[batch] == 0]] for batch in epochs_of(1, mixed=mixed)[0]]
        assert np.mean([np.ptp(part) for part in within if len(part)]) < 6


def test_batches_too_large_for_the_tasks_are_refused_before_a_model_is_built() -> None:
    with pytest.raises(
        ParamsError, match="batch_size: must leave a batch for each of 2 tasks, got 16 of 10 rows. Lower"
    ):
        check_batches([5, 5], batch_size=16)
    check_batches([5, 5], batch_size=9)
    trainable = TaskRows(frame(8), encoder(), 2, None, 0, ["0", "1"])
    unbuildable = encoder({"sharing": "hard", "batch_size": 32}, architecture="bert", hidden_size=16, n_heads=3)
    with pytest.raises(ParamsError, match="batch_size: must leave a batch"):
        build_shared_trainee({"a": trainable, "b": trainable}, settings=unbuildable, seed=0)


def test_a_tasks_predictions_are_the_same_alone_and_beside_others() -> None:
    """Each task reads its rows by themselves: see `MultiTask`."""
    from tests.base_models.test_shared_training import shared_trainee

    trainee, learners = shared_trainee()
    trainee.model.eval()
    objective, n_first = trainee.objective, len(learners["weather"].labelled.lengths)
    alone, mixed = np.arange(4), np.array([0, 1, 2, 3, n_first, n_first + 1])
    with torch.no_grad():
        losses = [
            objective.loss_sums(trainee.model, objective.batch(rows, 0), 0.0)["weather"] for rows in (alone, mixed)
        ]
    assert torch.equal(*losses)
