"""Adversarial training of several tasks: what each of them reads moves as it would in a model of that task alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from pipeline import components
from pipeline.base_models.fold_training import Learner
from pipeline.training.fold_trainer import Trainee
from pipeline.training.gradient import RowsOfStep
from tests.base_models.test_shared_training import TASKS, shared_trainee

WEIGHTS = {"weather": 2.0, "animal": 0.5}
FIXED = {"task_weighting": {"name": "fixed", "weights": WEIGHTS}}


def step_of(model: nn.Module, objective: Any, rows: np.ndarray, budget: int = 60) -> RowsOfStep:
    return RowsOfStep(model, objective, Accelerator(cpu=True), rows, 3, 0.5, 7, budget)


def gradients(model: nn.Module, way: Callable[..., Any], step: RowsOfStep) -> list[torch.Tensor]:
    model.zero_grad()
    way(model, step)
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


def way_of(trainee: Trainee) -> Callable[..., Any]:
    assert trainee.plugged is not None
    way: Callable[..., Any] = trainee.plugged["gradient"]
    return way


def by_hand(model: Any, step: RowsOfStep) -> None:
    """Take the gradient of the weighed losses, and again where each table of embeddings has moved along its own by 0.7."""
    tables = [backbone.get_input_embeddings().weight for backbone in model.backbones]

    def passed() -> None:
        for number in range(len(step.batches)):
            torch.stack([WEIGHTS.get(name, 1.0) * loss for name, loss in step.losses(number).items()]).sum().backward()

    passed()
    places = [table.detach().clone() for table in tables]
    with torch.no_grad():
        for table in tables:
            table += 0.7 * table.grad / table.grad.norm()
    passed()
    with torch.no_grad():
        for table, place in zip(tables, places, strict=True):
            table.copy_(place)


@pytest.mark.parametrize("sharing", ["hard", "soft"])
def test_fgm_moves_the_embeddings_that_each_task_reads(sharing: str) -> None:
    """Under dropout, over micro-batches of both tasks, losses weighed; of several encoders each table by itself."""
    trainee, learners = shared_trainee(sharing=sharing, adversarial={"name": "fgm", "epsilon": 0.7}, **FIXED)
    model = trainee.model.train()
    if sharing == "soft":  # at first all encoders are equal, and the penalty has no gradient
        with torch.no_grad():
            next(model.backbones[1].parameters()).mul_(1.5)
    n_first = len(learners["weather"].labelled.lengths)
    step = step_of(model, trainee.objective, np.r_[0:4, n_first : n_first + 4])
    assert len(step.batches) > 1
    found, expected = gradients(model, way_of(trainee), step), gradients(model, by_hand, step)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("adversarial", "tasks"),
    [
        ({"name": "pgd", "moves": "vectors", "n_steps": 2}, TASKS),
        ({"name": "freelb", "noise": 0.5}, TASKS[1:]),
    ],
    ids=str,
)
def test_moved_vectors_are_those_that_each_task_would_have_alone(adversarial: dict, tasks: tuple[str, ...]) -> None:
    """Without dropout the gradient of several tasks is the weighed sum of those of their own models; padding has no noise."""
    trainee, learners = shared_trainee(adversarial=adversarial, **FIXED)
    model = trainee.model.eval()
    starts = dict(zip(TASKS, trainee.objective.starts, strict=False))  # type: ignore[attr-defined]
    rows = np.concatenate([starts[task] + np.arange(6) for task in tasks])
    found = gradients(model, way_of(trainee), step_of(model, trainee.objective, rows, budget=1000))
    summed = [torch.zeros_like(gradient) for gradient in found]
    for task in tasks:
        for total, one in zip(summed, _alone(model, learners[task], WEIGHTS[task], adversarial), strict=True):
            total += WEIGHTS[task] * one
    for one, other in zip(found, summed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def _alone(model: nn.Module, learner: Learner, weight: float, adversarial: dict) -> list[torch.Tensor]:
    """Return the gradient of a task's own classifier for its first rows, which are not all of one length."""
    options = dict(adversarial)
    way = components.build("adversarial", options.pop("name"), options)
    step = step_of(learner.model, learner.labelled, np.arange(6), budget=1000)
    assert not all(bool(batch["attention_mask"].all()) for batch in step.batches)
    model.zero_grad()
    way(learner.model, step)
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


def test_weights_learn_from_the_losses_before_anything_moved() -> None:
    trainee, _ = shared_trainee(adversarial={"name": "pgd", "n_steps": 2}, task_weighting="famo")
    model, rows = trainee.model.train(), np.r_[0:4, 20:24]
    step = step_of(model, trainee.objective, rows)
    losses = way_of(trainee)(model, step)
    with torch.no_grad():
        plain = {task: sum(float(step.losses(n).get(task, 0)) for n in range(len(step.batches))) for task in TASKS}
    assert set(losses) == {*TASKS, "adversarial"}
    assert {task: losses[task] for task in TASKS} == pytest.approx(plain)
    torch.testing.assert_close(way_of(trainee).losses, torch.tensor(list(plain.values())))  # type: ignore[attr-defined]
