"""Ways to weigh tasks: against hand-worked quadratics and torchjd, alike however a step is cut, the same after a kill."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchjd import scalarization

from pipeline import components
from pipeline.errors.exceptions import InterruptedRun
from pipeline.multitask.task_weights import TaskGradient, TaskWeights
from pipeline.training.loop import train
from pipeline.units.checkpoints import Checkpoints
from tests.training.regression import StopAt, settings

TASKS = ["a", "b"]
every = pytest.mark.parametrize("name", components.available("task_weighting"))


def weighting(name: str, **options: Any) -> TaskWeights:
    built: TaskWeights = components.build("task_weighting", name, options, tasks=TASKS)
    return built


@dataclass
class Quadratics:
    """A step of two tasks, |theta - a|^2 / 2 and 2 |theta - b|^2, the second in two micro-batches."""

    theta: nn.Parameter
    batches = ({}, {})

    def losses(self, number: int) -> dict[str, torch.Tensor]:
        first = ((self.theta - torch.tensor([3.0, 0.0])) ** 2).sum() / 2
        half = ((self.theta - torch.tensor([0.0, 2.0])) ** 2).sum()
        return {"a": first, "b": half} if number == 0 else {"b": half}

    def backward(self, loss: torch.Tensor, *, retain_graph: bool = False) -> None:
        loss.backward(retain_graph=retain_graph)


G1, G2 = torch.tensor([-2.0, -1.0]), torch.tensor([4.0, -12.0])  # of the whole losses at theta = (1, -1)
LOSSES = {"a": 2.5, "b": 20.0}


def gradient_of(built: TaskWeights) -> tuple[torch.Tensor, TaskGradient]:
    theta = nn.Parameter(torch.tensor([1.0, -1.0]))
    way = TaskGradient(built, shared=[theta], last=[theta])
    way.begin(nn.Module(), step=0, n_steps=10, state=None)
    assert way(nn.Module(), Quadratics(theta)) == LOSSES  # type: ignore[arg-type]
    return theta.grad, way


def test_equal_and_fixed_weights_add_up_gradients() -> None:
    torch.testing.assert_close(gradient_of(weighting("equal"))[0], G1 + G2)
    torch.testing.assert_close(gradient_of(weighting("fixed", weights={"b": 0.25}))[0], G1 + 0.25 * G2)


def test_uncertainty_is_kendalls_formula() -> None:
    built = weighting("uncertainty")
    with torch.no_grad():
        built.log_variance.copy_(torch.tensor([0.5, -1.0]))
    gradient, _ = gradient_of(built)
    library = scalarization.UW(2)
    with torch.no_grad():
        library.log_var.copy_(built.log_variance)
    library(torch.tensor(list(LOSSES.values()))).backward()
    factors = (-built.log_variance.detach()).exp() / 2
    torch.testing.assert_close(gradient, factors[0] * G1 + factors[1] * G2)
    torch.testing.assert_close(built.log_variance.grad, library.log_var.grad)


def test_mgda_gives_the_shortest_combination() -> None:
    """Of two gradients it is the point of the line between them that is nearest to 0 (Sener and Koltun, algorithm 1)."""
    share = float(((G2 - G1) @ G2 / ((G1 - G2) @ (G1 - G2))).clamp(0, 1))
    for on in ("all", "last_layer"):
        torch.testing.assert_close(
            gradient_of(weighting("mgda", on=on))[0], share * G1 + (1 - share) * G2, atol=1e-6, rtol=1e-6
        )


def test_pcgrad_projects_what_conflicts(monkeypatch) -> None:
    """G1 and G2 do not conflict (their product is 4): they add up; turned round, each loses its part along the other."""
    torch.testing.assert_close(gradient_of(weighting("pcgrad"))[0], G1 + G2)
    monkeypatch.setattr(Quadratics, "losses", lambda step, number: turned(step, number))
    product, first = G1 @ -G2, G1
    by_hand = first - product / (G2 @ G2) * -G2 + -G2 - product / (G1 @ G1) * G1
    theta = nn.Parameter(torch.tensor([1.0, -1.0]))
    TaskGradient(weighting("pcgrad"), shared=[theta])(nn.Module(), Quadratics(theta))  # type: ignore[arg-type]
    torch.testing.assert_close(theta.grad, by_hand, atol=1e-6, rtol=1e-6)


def turned(step: Quadratics, number: int) -> dict[str, torch.Tensor]:
    return {"a": step.theta @ G1, "b": -(step.theta @ G2)} if number == 0 else {"b": 0 * step.theta.sum()}


def test_gradnorm_moves_weights_towards_even_training_rates() -> None:
    """Worked by hand: norms 5^.5 and 160^.5; b has half its first loss, a all of it, so a is to have the larger gradient."""
    built = weighting("gradnorm", alpha=1.0, rate=0.1)
    gradient, way = gradient_of(built)
    torch.testing.assert_close(gradient, G1 + G2)
    built.first.copy_(torch.tensor([2.5, 40.0]))
    way.after_step(1)
    norms = torch.tensor([5.0, 160.0]).sqrt()
    ratios = torch.tensor([1.0, 0.5])
    slope = (norms - norms.mean() * ratios / ratios.mean()).sign() * norms / norms.mean()
    moved = 1 - 0.1 * slope
    torch.testing.assert_close(built.weights(), 2 * moved / moved.sum())
    assert built.weights()[0] > 1


def test_dynamic_weight_average_by_hand() -> None:
    """Equal weights over the first two parts, then by the ratio of the means of the two parts before; NaN is no row."""
    built = weighting("dynamic_weight_average", n_parts=4, temperature=2.0)
    for part, losses in enumerate([[4.0, 1.0], [2.0, 0.9], [1.5, 0.5]]):
        if part < 2:
            torch.testing.assert_close(built.weights(), torch.ones(2))
        built.update(torch.tensor(losses), part / 4 + 0.1)
        built.update(torch.tensor([losses[0], torch.nan]), (part + 1) / 4)
    ratios = torch.tensor([1.5 / 2.0, 0.5 / 0.9])
    torch.testing.assert_close(built.weights(), 2 * (ratios / 2).softmax(dim=0))


def test_dynamic_task_prioritisation_by_hand() -> None:
    built = weighting("dynamic_task_prioritisation", gamma=2.0, decay=0.5)
    torch.testing.assert_close(built.weights(), torch.ones(2))
    built.update(torch.tensor([1.0, torch.nan]), 0.1)
    torch.testing.assert_close(built.weights(), torch.ones(2))
    built.update(torch.tensor([1.0, 0.1]), 0.2)
    done = (-torch.tensor([1.0, 0.1])).exp()
    expected = (1 - done) ** 2 * torch.tensor([1.0, 0.1])
    torch.testing.assert_close(built.weights(), expected / expected.mean())


def test_famo_weighs_by_the_libraries_formula_and_steps_against_what_fell() -> None:
    """The weights are the gradient of c sum z log loss; a step is that of the paper's algorithm, by autograd."""
    built = weighting("famo", rate=0.5, decay=0.1)
    torch.testing.assert_close(built.weights(), torch.tensor([0.5, 0.5]))
    before, after = torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.9])
    built.update(before, 0.1)
    library, losses = scalarization.FAMO(2), before.clone().requires_grad_()
    library(losses).backward()
    torch.testing.assert_close(built.weights(), losses.grad)
    logits = torch.zeros(2, requires_grad=True)
    (slope,) = torch.autograd.grad(logits.softmax(dim=0), logits, (before.log() - after.log()))
    built.update(after, 0.2)
    torch.testing.assert_close(built.logits, -0.5 * slope)


class Tied:
    """Rows 0 to 19 are of task a, the others of task b: two linear readouts over one layer."""

    def __init__(self) -> None:
        self.lengths = np.full(40, 5)
        self.inputs = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))

    def batch(self, rows: np.ndarray, step: int) -> dict[str, torch.Tensor]:
        return {"rows": torch.from_numpy(rows)}

    def weights(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        return {task: float(n) for task, n in zip(TASKS, self.counts(batch), strict=True) if n}

    def counts(self, batch: dict[str, torch.Tensor]) -> tuple[int, int]:
        first = int((batch["rows"] < 20).sum())
        return first, len(batch["rows"]) - first

    def loss_sums(self, model: Any, batch: dict[str, torch.Tensor], progress: float) -> dict[str, torch.Tensor]:
        sums = {}
        for task, own in zip(TASKS, (batch["rows"] < 20, batch["rows"] >= 20), strict=True):
            if own.any():
                outputs = model[task](model["shared"](self.inputs[batch["rows"][own]]))
                sums[task] = ((outputs - (1 if task == "a" else -2)) ** 2).sum()
        return sums


def trained(name: str, **arguments: Any) -> torch.Tensor:
    """Train a small model of two tasks and return its weights, those of the tasks too."""
    torch.manual_seed(0)
    built = weighting(name)
    model = nn.ModuleDict({"shared": nn.Linear(3, 4), "a": nn.Linear(4, 1), "b": nn.Linear(4, 1), "weights": built})
    way = TaskGradient(built, shared=model["shared"].parameters(), last=model["shared"].parameters())
    groups = [{"params": list(model.parameters()), "lr": 0.05, "weight_decay": 0.0}]
    chosen = settings(tokens_per_micro_batch=arguments.pop("tokens", 8192))
    train(model, Tied(), groups, settings=chosen, seed=3, device="cpu", gradient=way, hooks=[way], **arguments)
    assert way.curve and set(way.curve[-1]["weights"]) == set(TASKS)
    return torch.cat([tensor.detach().flatten().float() for tensor in model.state_dict().values()])


@every
def test_how_a_step_is_cut_changes_nothing(name: str) -> None:
    torch.testing.assert_close(trained(name), trained(name, tokens=10), atol=2e-4, rtol=2e-4)


@every
def test_F1_I1_a_way_to_weigh_tasks_goes_on_after_a_kill_in_the_same_bytes(tmp_path, name: str) -> None:
    """Stopped and resumed, a training of two tasks ends in the same bytes under any way to weigh them."""
    with pytest.raises(InterruptedRun):
        trained(name, checkpoints=Checkpoints(tmp_path), monitor=StopAt(4))
    assert torch.equal(trained(name, checkpoints=Checkpoints(tmp_path)), trained(name))
