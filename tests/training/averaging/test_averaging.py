"""Averages of weights against numbers worked by hand, what every averaging keeps, and that it resumes to the same bytes."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from pipeline import components
from pipeline.errors.exceptions import InterruptedRun, ParamsError
from pipeline.params.fields import Component, component
from pipeline.units.checkpoints import Checkpoints
from tests.training.regression import StopAt, problem, run, settings, weights

every = pytest.mark.parametrize("name", components.available("averaging"))


def averaging(value: Any) -> Any:
    named: Component = TypeAdapter(component("averaging")).validate_python(value)
    return named.build()


class Point(nn.Module):
    """One weight under two names, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(1, 1, bias=False)
        self.second = nn.Linear(1, 1, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("n", torch.tensor(7))

    def go(self, value: float) -> None:
        self.first.weight.data.fill_(value)

    def now(self) -> float:
        return self.first.weight.item()


def along(hook: Any, path: list[float]) -> Point:
    """Let a hook accompany a weight along a path; the first value is before the first step."""
    model = Point()
    model.go(path[0])
    hook.begin(model, step=0, n_steps=len(path) - 1, state=None)
    for step, value in enumerate(path[1:], 1):
        model.go(value)
        hook.after_step(step)
    return model


def value_of(hook: Any) -> float:
    found = hook.weights(None)
    assert torch.equal(found["first.weight"], found["second.weight"]) and found["n"] == 7
    value: float = found["first.weight"].item()
    return value


def test_ema_of_worked_numbers() -> None:
    hook = averaging({"name": "ema", "decay": 0.5, "ramp": False})
    model = along(hook, [8.0, 4.0, 2.0, 1.0])
    assert value_of(hook) == 8 / 8 + 4 / 8 + 2 / 4 + 1 / 2 and model.now() == 1.0
    hook = averaging({"name": "ema", "decay": 0.999})  # kept: 2 / 11, 3 / 12
    along(hook, [11.0, 0.0, 4.0])
    assert value_of(hook) == pytest.approx(0.25 * (11 * 2 / 11) + 0.75 * 4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"start_ratio": 0.0, "n_points": 8}, 4.5),
        ({"start_ratio": 0.5, "n_points": 10}, (5 + 6 + 7 + 8) / 4),
        ({"start_ratio": 0.5, "n_points": 2}, (6 + 8) / 2),
        ({"start_ratio": 0.99, "n_points": 3}, 8.0),
        ({"start_ratio": 0.0, "n_points": 1}, 8.0),
    ],
)
def test_swa_of_worked_numbers(options: dict[str, Any], expected: float) -> None:
    hook = averaging({"name": "swa", **options})
    along(hook, [float(value) for value in range(9)])
    assert value_of(hook) == pytest.approx(expected)


def test_before_swa_begins_there_is_no_average() -> None:
    hook, model = averaging({"name": "swa", "start_ratio": 0.5}), Point()
    hook.begin(model, step=0, n_steps=10, state=None)
    hook.after_step(5)
    assert hook.weights(None) is None


@pytest.mark.parametrize(
    ("ends", "target", "expected"),
    [
        ([1.0, 5.0, 2.0], 3.0, 3.5),  # the best is 2; with 1 it would be 1.5, which is worse, with 5 it is 3.5
        (
            [4.0, 2.0, 3.5],
            3.0,
            2.75,
        ),  # 3.5, then 4 and 2 are as near: with 4 it is worse, with 2 it is 2.75, which is better
        ([1.0, 2.0, 4.0], 0.0, 1.0),  # none helps the best
        ([1.0, 1.0, 1.0], 1.0, 1.0),
    ],
)
def test_greedy_soup_of_worked_numbers(ends: list[float], target: float, expected: float) -> None:
    hook, model = averaging("greedy_soup"), Point()

    def evaluate(model: nn.Module) -> float:
        return -abs(model.now() - target)  # type: ignore[operator]

    hook.begin(model, step=0, n_steps=len(ends), state=None)
    for step, value in enumerate(ends, 1):
        model.go(value)
        hook.after_step(step)
        found = hook.weights(evaluate)
        assert model.now() == value and (found is None) == (step < len(ends))
    assert found["first.weight"].item() == expected


def test_a_soup_without_scores_says_what_it_needs() -> None:
    model, objective = problem()
    with pytest.raises(ParamsError, match="greedy_soup needs scores. Set epoch_selection: inner"):
        run(model, objective, settings(), hooks=[averaging("greedy_soup")])


def score(model: nn.Module) -> float:
    return -float((weights(model) - 0.3).norm())


@every
@pytest.mark.parametrize("stop", [1, 5, 6, 8])
def test_F1_I1_stopped_and_resumed_every_averaging_ends_in_the_same_bytes(tmp_path, name: str, stop: int) -> None:
    """Stopped between or at epochs' ends and resumed, a training with any averaging ends in the same bytes."""
    (model, objective), (killed, _), (resumed, _) = problem(), problem(), problem()
    history = run(model, objective, settings(), hooks=[averaging(name)], evaluate=score)
    with pytest.raises(InterruptedRun):
        run(
            killed, objective, settings(), hooks=[averaging(name)], evaluate=score,
            checkpoints=Checkpoints(tmp_path), monitor=StopAt(stop),
        )  # fmt: skip
    again = run(
        resumed, objective, settings(), hooks=[averaging(name)], evaluate=score, checkpoints=Checkpoints(tmp_path)
    )
    assert torch.equal(weights(resumed), weights(model)) and again.epochs == history.epochs


@every
def test_what_is_averaged_changes_no_step(name: str) -> None:
    (model, objective), (plain, _) = problem(), problem()
    steps: list[torch.Tensor] = []

    def evaluate(model: nn.Module) -> float:
        steps.append(weights(model))
        return 0.0

    averaged = run(model, objective, settings(), hooks=[averaging(name)], evaluate=evaluate)
    alone = run(plain, objective, settings(), evaluate=score)
    assert [point["loss"] for point in averaged.steps] == [point["loss"] for point in alone.steps]


def test_a_soup_is_at_least_as_good_as_the_best_epoch() -> None:
    (model, objective), (plain, _) = problem(), problem()
    run(model, objective, settings(epochs=5), hooks=[averaging("greedy_soup")], evaluate=score)
    run(plain, objective, settings(epochs=5), evaluate=score)
    assert score(model) >= score(plain)
