"""What every optimizer keeps: each group's rate, the same steps after a restart; and its first steps against its library."""

import json
from collections.abc import Callable
from typing import Any

import bitsandbytes
import pytest
import pytorch_optimizer
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from pipeline import components
from pipeline.errors.exceptions import InterruptedRun, ParamsError
from pipeline.params.fields import Component, component
from pipeline.training.loop import train
from pipeline.units.checkpoints import Checkpoints
from tests.training.regression import StopAt, problem, settings, weights

every = pytest.mark.parametrize("name", components.available("optimizers"))


def optimizer(value: Any) -> Component:
    """Return an optimizer as params name it."""
    parsed: Component = TypeAdapter(component("optimizers")).validate_python(value)
    return parsed


def points() -> list[nn.Parameter]:
    """Return a matrix and a vector."""
    numbers = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=numbers)) for shape in ((3, 4), (5,))]


def groups(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    matrix, vector = parameters
    return [
        {"name": "layer", "params": [matrix], "lr": 0.1, "weight_decay": 0.2, "holds_hidden_matrices": True},
        {"name": "head", "params": [vector], "lr": 0.02, "weight_decay": 0.0, "holds_hidden_matrices": False},
    ]


def steps(built: torch.optim.Optimizer, parameters: list[nn.Parameter], n: int) -> torch.Tensor:
    """Take steps down a quadratic with its least point at 1, and return where they end."""
    for _ in range(n):
        built.zero_grad()
        sum(((parameter - 1) ** 2).sum() for parameter in parameters).backward()
        built.step()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


@every
def test_an_optimizer_takes_each_groups_rate_and_comes_closer(name: str) -> None:
    parameters, fixed = points(), points()
    built = optimizer(name).build(parameter_groups=groups(parameters))
    assert [(group["name"], group["lr"], group["weight_decay"]) for group in built.param_groups] == [
        ("layer", 0.1, 0.2), ("head", 0.02, 0.0),
    ]  # fmt: skip
    start = torch.cat([parameter.detach().flatten() for parameter in fixed])
    end = steps(built, parameters, 8)
    assert ((end - 1).norm() < (start - 1).norm()) and torch.isfinite(end).all()
    still = optimizer(name).build(parameter_groups=[{**group, "lr": 0.0} for group in groups(fixed)])
    assert torch.equal(steps(still, fixed, 3), start)


def of_library() -> dict[str, Callable[[list[dict[str, Any]]], torch.optim.Optimizer]]:
    """Return each optimizer as its library makes it."""
    decoupled = {"decoupled_weight_decay": True}

    def muon(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        hidden, rest = groups
        adam = {"betas": (0.9, 0.999), "eps": 1e-8}
        groups = [{**hidden, "use_muon": True, "use_adjusted_lr": True}, {**rest, "use_muon": False, **adam}]
        return pytorch_optimizer.Muon(groups)

    return {
        "adamw": lambda groups: torch.optim.AdamW(groups, fused=True),
        "radam": lambda groups: torch.optim.RAdam(groups, **decoupled),
        "nadam": lambda groups: torch.optim.NAdam(groups, **decoupled),
        "adafactor": torch.optim.Adafactor,
        "lamb": lambda groups: pytorch_optimizer.Lamb(groups, weight_decouple=False),
        "lion": pytorch_optimizer.Lion,
        "ranger": lambda groups: pytorch_optimizer.Ranger(groups, degenerated_to_sgd=True),
        "muon": muon,
        "schedule_free": pytorch_optimizer.ScheduleFreeAdamW,
        "adamw_8bit": lambda groups: bitsandbytes.optim.AdamW8bit(groups),
        "lookahead": lambda groups: pytorch_optimizer.Lookahead(torch.optim.AdamW(groups, fused=True)),
    }


@every
def test_the_first_steps_are_those_of_the_library(name: str) -> None:
    ours, theirs = points(), points()
    built, reference = optimizer(name).build(parameter_groups=groups(ours)), of_library()[name](groups(theirs))
    assert torch.equal(steps(built, ours, 12), steps(reference, theirs, 12))


def test_muon_steps_as_torch_does_where_it_is_muon() -> None:
    ours, theirs = points(), points()
    built = optimizer("muon").build(parameter_groups=groups(ours))
    matrix = torch.optim.Muon(groups(theirs)[:1], momentum=0.95, adjust_lr_fn="match_rms_adamw")
    vector = torch.optim.AdamW(groups(theirs)[1:])
    steps(built, ours, 5)
    for _ in range(5):
        steps(matrix, theirs[:1], 1)
        steps(vector, theirs[1:], 1)
    torch.testing.assert_close(ours[0], theirs[0], rtol=0.02, atol=0.02)  # they orthogonalise in half precision
    torch.testing.assert_close(ours[1], theirs[1])


def test_ranger_goes_down_from_the_first_step() -> None:
    """The library's default goes up the gradient for five steps; then Ranger's own code takes steps of momentum."""
    parameters = points()
    start = torch.cat([parameter.detach().flatten() for parameter in parameters])
    built = optimizer({"name": "ranger", "centralize_gradients": False}).build(parameter_groups=groups(parameters)[1:])
    end = steps(built, parameters[1:], 1)
    torch.testing.assert_close(end, start[12:] - 0.02 * 2 * (start[12:] - 1))


def test_lookahead_of_worked_numbers_over_another_optimizer_and_options() -> None:
    ours, fast = points(), points()
    over = {"name": "lookahead", "optimizer": {"name": "radam", "beta1": 0.5}, "n_fast_steps": 3, "alpha": 0.25}
    built = optimizer(over).build(parameter_groups=groups(ours))
    slow = torch.cat([parameter.detach().flatten() for parameter in fast])
    reference = torch.optim.RAdam(groups(fast), betas=(0.5, 0.999), decoupled_weight_decay=True)
    for _ in range(2):
        slow = slow + 0.25 * (steps(reference, fast, 3) - slow)
        with torch.no_grad():
            for parameter, part in zip(fast, slow.split([12, 5]), strict=True):
                parameter.copy_(part.view_as(parameter))
        torch.testing.assert_close(steps(built, ours, 3), slow)


def test_schedule_free_predicts_with_the_average_of_what_it_steps_with() -> None:
    """With its weights by squared rates, here equal, the average is the plain mean of the sequence z."""
    parameters, by_hand = points()[1:], points()[1].detach()
    group = [{"params": parameters, "lr": 0.02, "weight_decay": 0.0}]
    built = optimizer("schedule_free").build(parameter_groups=group)
    z = average = by_hand
    squares = torch.zeros_like(z)
    for step in range(1, 5):
        gradient = 2 * ((0.9 * average + 0.1 * z) - 1)
        squares = 0.999 * squares + 0.001 * gradient**2
        z = z - 0.02 * gradient / ((squares / (1 - 0.999**step)).sqrt() + 1e-8)
        average = average + (z - average) / step
    steps(built, parameters, 4)
    built.eval()
    torch.testing.assert_close(parameters[0].detach(), average)


@pytest.mark.parametrize("chosen", [*components.available("optimizers"), {"name": "adamw_8bit", "min_8bit_size": 1}])
@pytest.mark.parametrize("stop", [3, 4, 6])
def test_F1_I1_stopped_and_resumed_every_optimizer_ends_in_the_same_bytes(tmp_path, chosen: Any, stop: int) -> None:
    """Stopped between or at epochs' ends and resumed, a training with any optimizer ends in the same bytes."""

    def run(model: nn.Module, **arguments: Any) -> torch.Tensor:
        first, rest = list(model[0].parameters()), list(model[2].parameters())
        both = [{"params": first[:1], "lr": 0.05, "weight_decay": 0.1, "holds_hidden_matrices": True}]
        both += [{"params": [*first[1:], *rest], "lr": 0.01, "weight_decay": 0.0, "holds_hidden_matrices": False}]
        train(model, objective, both, settings=settings(optimizer=chosen), seed=3, device="cpu", **arguments)
        return weights(model)

    (model, objective), (killed, _), (resumed, _) = problem(), problem(), problem()
    expected = run(model, evaluate=score)
    with pytest.raises(InterruptedRun):
        run(killed, evaluate=score, checkpoints=Checkpoints(tmp_path), monitor=StopAt(stop))
    assert torch.equal(run(resumed, evaluate=score, checkpoints=Checkpoints(tmp_path)), expected)


def score(model: nn.Module) -> float:
    """Return a score that a later epoch need not have."""
    return float(weights(model).sum())


def test_with_schedule_free_an_epoch_ends_with_the_average_and_the_next_goes_on_from_the_weights() -> None:
    model, objective = problem()
    seen: list[torch.Tensor] = []

    def evaluate(model: nn.Module) -> float:
        seen.append(weights(model))
        return float(len(seen))

    def run(model: nn.Module, epochs: int, **arguments: Any) -> torch.Tensor:
        given = [{"params": list(model.parameters()), "lr": 0.05, "weight_decay": 0.0}]
        free = settings(optimizer="schedule_free", epochs=epochs, warmup_ratio=0.0)
        train(model, objective, given, settings=free, seed=3, device="cpu", **arguments)
        return weights(model)

    other, _ = problem()
    assert torch.equal(run(model, 2, evaluate=evaluate), run(other, 2))
    assert torch.equal(seen[-1], weights(model)) and not torch.equal(seen[0], seen[1])


def test_in_8_bits_are_the_states_of_large_hidden_matrices_and_steps_stay_close() -> None:
    """The rest has 32 bits; after 20 steps a weight is within a twentieth of the way that it went from torch's."""

    def large() -> list[nn.Parameter]:
        numbers = torch.Generator().manual_seed(0)
        return [nn.Parameter(torch.randn(shape, generator=numbers)) for shape in ((64, 64), (64, 65))]

    start, ours, theirs = large(), large(), large()
    built, reference = optimizer("adamw_8bit").build(parameter_groups=groups(ours)), torch.optim.AdamW(groups(theirs))
    ends = steps(built, ours, 20), steps(reference, theirs, 20)
    assert [built.state[parameter]["state1"].dtype for parameter in ours] == [torch.uint8, torch.float32]
    way = (ends[1] - torch.cat([parameter.detach().flatten() for parameter in start])).abs().max()
    assert 0 < (ends[0] - ends[1]).abs().max() < way / 20


def test_muon_needs_hidden_matrices() -> None:
    with pytest.raises(ParamsError, match="optimizer: muon needs matrices in layers that learn.*Take adamw"):
        optimizer("muon").build(parameter_groups=groups(points())[1:])


@pytest.mark.parametrize("inner", ["schedule_free", "lookahead"])
def test_lookahead_goes_over_no_average(inner: str) -> None:
    chosen = optimizer({"name": "lookahead", "optimizer": inner})
    with pytest.raises(ParamsError, match=f"got {inner}. Take another"):
        chosen.build(parameter_groups=groups(points()))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": "lookahead", "optimizer": "radm"}, "optimizer: got 'radm', expected one of .*Did you mean 'radam'"),
        ({"name": "lookahead", "optimizer": {"name": "lion", "beta3": 1}}, "optimizer: lion does not take this option"),
        ({"name": "lookahead", "alpha": 1.5}, "alpha: must be less than 1, got 1.5"),
        ({"name": "lion", "beta1": "high"}, "beta1: must be a valid number, got 'high'"),
    ],
)
def test_an_option_out_of_its_range_is_named(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        optimizer(value)


def test_what_is_looked_ahead_over_stands_in_params_and_recipes() -> None:
    dumped = json.dumps(optimizer("lookahead").model_dump())
    assert json.loads(dumped)["options"] == {"optimizer": {"kind": "optimizers", "name": "adamw", "options": {}}}
    assert [part.name for part in optimizer({"name": "lookahead", "optimizer": "lion"}).parts()] == [
        "lookahead",
        "lion",
    ]
