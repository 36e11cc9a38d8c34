"""What plugs into the loop without an edit of it: ways to a gradient, hooks, several losses; and that all of it resumes."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.errors.exceptions import InterruptedRun
from pipeline.training.gradient import plain
from pipeline.training_contracts import TrainingStep
from pipeline.units.checkpoints import Checkpoints
from tests.training.regression import Regression, Spike, StopAt, problem, run, settings, weights


class Average:
    """An exponential moving average of the weights."""

    def __init__(self, decay: float = 0.7) -> None:
        self.decay = decay

    def begin(self, model, *, step, n_steps, state):
        self.model = model
        start = model.state_dict() if state is None else state["average"]
        self.average = {name: tensor.clone() for name, tensor in start.items()}

    def after_step(self, step):
        for name, tensor in self.model.state_dict().items():
            self.average[name].lerp_(tensor, 1 - self.decay)

    def weights(self, evaluate):
        return self.average

    def state(self):
        return {"average": self.average}


class Thaw:
    """Freezes the first layer and thaws it at a step."""

    def __init__(self, at: int = 5) -> None:
        self.at = at

    def begin(self, model, *, step, n_steps, state):
        self.layer = model[0]
        self.after_step(step)

    def after_step(self, step):
        self.layer.requires_grad_(step >= self.at)

    def weights(self, evaluate):
        return None

    def state(self):
        return {}


class Trail:
    """Notes the weights after every step, and whether the first layer then learns."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.weights_after: list[torch.Tensor] = []
        self.thawed: list[bool] = []

    def begin(self, model, *, step, n_steps, state):
        self.model, self.n_steps = model, n_steps

    def after_step(self, step):
        self.steps.append(step)
        self.weights_after.append(weights(self.model))
        self.thawed.append(self.model[0].weight.requires_grad)

    def weights(self, evaluate):
        return None

    def state(self):
        return {}


class Towards:
    """A way to the gradient that moves the inputs against it first, in every micro-batch, and adds that second gradient.

    How far it moves them grows with what it has seen: it keeps something from step to step.
    """

    def __init__(self) -> None:
        self.seen, self.n_calls, self.last = 0.0, 0, 0.0

    def __call__(self, model: nn.Module, step: TrainingStep) -> dict[str, float]:
        self.n_calls += 1
        total, moved = 0.0, 0.0
        for number, batch in enumerate(step.batches):
            inputs = batch["inputs"]
            batch["inputs"] = inputs.clone().requires_grad_()
            loss = step.losses(number)["loss"]
            step.backward(loss)
            batch["inputs"] = (inputs + (0.1 + self.seen) * batch["inputs"].grad.sign()).detach()
            second = step.losses(number)["loss"]
            step.backward(second)
            batch["inputs"] = inputs
            total, moved = total + float(loss.detach()), moved + float(second.detach())
        self.last = total
        return {"clean": total, "moved": moved}

    def begin(self, model, *, step, n_steps, state):
        self.seen = 0.0 if state is None else state["seen"]

    def after_step(self, step):
        self.seen += 0.01 * self.last

    def weights(self, evaluate):
        return None

    def state(self):
        return {"seen": self.seen}


def score(model: nn.Module) -> float:
    return float(weights(model).sum())


def undisturbed_and_resumed(tmp_path, stop: int, make: Callable[[], dict[str, Any]], **training) -> list[torch.Tensor]:
    """Return the weights of a training left alone and of one stopped at a step and resumed, each with its own plug-ins."""
    whole, objective = problem()
    resumed = copy.deepcopy(whole)
    run(whole, objective, settings(**training), **make())
    with pytest.raises(InterruptedRun):
        run(
            copy.deepcopy(resumed), objective, settings(**training), checkpoints=Checkpoints(tmp_path),
            monitor=StopAt(stop), **make(),
        )  # fmt: skip
    run(resumed, objective, settings(**training), checkpoints=Checkpoints(tmp_path), **make())
    return [weights(whole), weights(resumed)]


def towards() -> dict[str, Any]:
    way = Towards()
    return {"gradient": way, "hooks": [way]}


PLUGGED: dict[str, Callable[[], dict[str, Any]]] = {
    "average": lambda: {"hooks": [Average()]},
    "average, epoch chosen": lambda: {"hooks": [Average()], "evaluate": score},
    "thaw": lambda: {"hooks": [Thaw()]},
    "both": lambda: {"hooks": [Thaw(), Average()], "evaluate": score},
    "gradient": towards,
}


@pytest.mark.parametrize("plugged", PLUGGED)
@pytest.mark.parametrize("stop", [1, 4, 5, 8])
def test_stopped_and_resumed_what_is_plugged_in_ends_in_the_same_bits(tmp_path, plugged: str, stop: int) -> None:
    """Stopped at a step and resumed, a training with hooks or another way to its gradient ends in the same bits."""
    assert torch.equal(*undisturbed_and_resumed(tmp_path, stop, PLUGGED[plugged]))


@pytest.mark.parametrize("plugged", PLUGGED)
def test_killed_between_checkpoints_and_resumed_what_is_plugged_in_ends_in_the_same_bits(
    tmp_path, monkeypatch, plugged: str
) -> None:
    """Killed where no checkpoint was asked for, a training with hooks ends in the same bits too."""
    whole, objective = problem()
    resumed, killed = copy.deepcopy(whole), copy.deepcopy(whole)
    often = settings(checkpoint_seconds=1e-9)
    run(whole, objective, often, **PLUGGED[plugged]())
    passages = iter(range(1, 10))

    def kill(point: str) -> None:
        if point == "step" and next(passages) == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipeline.training.loop.failpoint", kill)
        run(killed, objective, often, checkpoints=Checkpoints(tmp_path), **PLUGGED[plugged]())
    assert (tmp_path / "step-000000005").exists()
    run(resumed, objective, often, checkpoints=Checkpoints(tmp_path), **PLUGGED[plugged]())
    assert torch.equal(weights(resumed), weights(whole))


def test_an_average_is_what_is_kept_and_steps_are_taken_from_the_models_own_weights() -> None:
    model, objective = problem()
    plainly, start = copy.deepcopy(model), weights(model)
    trail, alone = Trail(), Trail()
    run(model, objective, settings(), hooks=[Average(), trail])
    run(plainly, objective, settings(), hooks=[alone])
    assert (trail.steps, trail.n_steps) == (list(range(1, 10)), 9)
    assert all(torch.equal(*pair) for pair in zip(trail.weights_after, alone.weights_after, strict=True))
    for after in trail.weights_after:
        start = start.lerp(after, 1 - 0.7)
    torch.testing.assert_close(weights(model), start)
    assert torch.equal(weights(plainly), alone.weights_after[-1])


def test_the_average_is_scored_and_that_of_the_best_epoch_kept() -> None:
    model, objective = problem()
    average, seen, ends = Average(), [], []

    def evaluate(model: nn.Module) -> float:
        seen.append(weights(model).clone())
        ends.append(torch.cat([average.average[name].flatten() for name, _ in model.named_parameters()]))
        return [0.1, 0.9, 0.5][len(seen) - 1]

    run(model, objective, settings(), hooks=[average], evaluate=evaluate)
    assert all(torch.equal(*pair) for pair in zip(seen, ends, strict=True))
    assert torch.equal(weights(model), seen[1])


def test_a_hook_may_score_weights_of_its_own_choice() -> None:
    """As a greedy soup does: it is given the score, and decides by it what the epoch ends with."""

    class Better(Average):
        def weights(self, evaluate):
            trained = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            scores = []
            for candidate in (trained, self.average):
                self.model.load_state_dict(candidate)
                scores.append(evaluate(self.model))
            self.model.load_state_dict(trained)
            return self.average if scores[1] > scores[0] else None

    def signed(model: nn.Module) -> float:
        return sign * score(model)

    for sign in (1, -1):
        model, objective = problem()
        trail = Trail()
        history = run(
            model,
            objective,
            settings(epochs=1),
            hooks=[Better(0.999), trail],
            evaluate=signed,
        )
        assert history.epochs[0]["inner_score"] == sign * score(model) >= sign * float(trail.weights_after[-1].sum())


def test_a_frozen_layer_stays_until_it_thaws_and_learns_from_then_on() -> None:
    model, objective = problem()
    first, trail = model[0].weight.detach().clone(), Trail()
    run(model, objective, settings(), hooks=[Thaw(at=5), trail])
    before, after = trail.weights_after[4][: first.numel()], trail.weights_after[5][: first.numel()]
    assert torch.equal(before, first.flatten()) and (after != first.flatten()).any()
    assert trail.thawed == [False] * 4 + [True] * 5


def test_what_hooks_freeze_is_tried_thawed_before_the_first_step() -> None:
    """Memory that will lack once a layer thaws lacks at the start, not hours later."""
    model, objective = problem()
    thawed = []

    class Watched(Regression):
        def loss_sums(self, model, batch, progress):
            thawed.append(model[0].weight.requires_grad)
            return super().loss_sums(model, batch, progress)

    run(model, Watched(objective.lengths, objective.inputs), settings(), hooks=[Thaw(at=9)])
    assert thawed == [True] + [False] * 9


def test_a_rollback_takes_hooks_back_too(tmp_path) -> None:
    """After a rollback to the epoch's start hooks have their state of that step again."""
    model, regression = problem()
    trail = Trail()
    spike = Spike(regression.lengths, regression.inputs)
    run(
        model, spike, settings(not_finite="rollback"), checkpoints=Checkpoints(tmp_path),
        hooks=[Thaw(at=4), Average(), trail],
    )  # fmt: skip
    assert trail.steps == [1, 2, 3, 4, 4, 5, 6, 7, 8, 9]
    average = weights(problem()[0])
    for after in trail.weights_after[:3] + trail.weights_after[4:]:
        average = average.lerp(after, 1 - 0.7)
    torch.testing.assert_close(weights(model), average)


def quiet(lengths: list[int] | None = None) -> tuple[nn.Module, Regression]:
    """Return the problem without dropout."""
    model, objective = problem(lengths)
    model[1].p = 0.0
    return model, objective


def test_a_way_to_the_gradient_sees_micro_batches_and_adds_up_to_that_of_one_batch() -> None:
    model, objective = quiet([3, 9, 4, 8, 30] * 4)
    parts = copy.deepcopy(model)
    history = run(model, objective, settings(tokens_per_micro_batch=10_000), **towards())
    run(parts, objective, settings(tokens_per_micro_batch=40), **towards())
    torch.testing.assert_close(weights(parts), weights(model), rtol=1e-5, atol=1e-6)
    point = history.steps[-1]
    assert point["loss"] == pytest.approx(sum(point["losses"].values())) and list(point["losses"]) == ["clean", "moved"]
    assert point["losses"]["moved"] > point["losses"]["clean"]


def test_memory_that_runs_out_between_two_passes_changes_no_step() -> None:
    """A way to the gradient is taken anew for smaller micro-batches; what it had begun leaves no trace."""
    calm, objective = quiet()
    short_of_memory = copy.deepcopy(calm)
    run(calm, objective, settings(tokens_per_micro_batch=40), **towards())
    _, objective = problem(fail_at=6)
    history = run(short_of_memory, objective, settings(tokens_per_micro_batch=40), **towards())
    assert history.token_budget == 20
    torch.testing.assert_close(weights(short_of_memory), weights(calm), rtol=1e-5, atol=1e-6)


def test_dropout_is_the_same_whenever_a_micro_batch_is_passed() -> None:
    model, objective = problem()
    values: list[list[float]] = []

    def twice(model: nn.Module, step: TrainingStep) -> dict[str, float]:
        values.append([float(step.losses(number)["loss"].detach()) for number in (1, 0, 1)])
        return plain(model, step)

    run(model, objective, settings(tokens_per_micro_batch=15), gradient=twice)
    assert all(first == again != other for first, other, again in values)


@dataclass
class TwoTasks(Regression):
    """Two losses over different rows: the upper half of the points is pulled to 1, the lower half to -1."""

    def batch(self, rows, step):
        return {**super().batch(rows, step), "upper": torch.from_numpy(rows >= 10)}

    def weights(self, batch):
        n_upper = int(batch["upper"].sum())
        return {"up": float(n_upper), "down": float(len(batch["upper"]) - n_upper)}

    def loss_sums(self, model, batch, progress):
        errors = {"up": (model(batch["inputs"]) - 1) ** 2, "down": (model(batch["inputs"]) + 1) ** 2}
        masks = {"up": batch["upper"], "down": ~batch["upper"]}
        return {name: errors[name][mask].sum() for name, mask in masks.items() if mask.any()}


def two_tasks(lengths: list[int] | None = None) -> tuple[nn.Module, TwoTasks]:
    model, objective = quiet(lengths)
    return model, TwoTasks(objective.lengths, objective.inputs)


def test_several_losses_are_means_over_their_own_rows_however_the_step_is_cut() -> None:
    model, objective = two_tasks([3, 9, 4, 8, 30] * 4)
    parts, reference = copy.deepcopy(model), copy.deepcopy(model)
    options = {"epochs": 1, "batch_size": 20, "warmup_ratio": 0.0, "max_grad_norm": 1000.0}
    whole = run(model, objective, settings(**options, tokens_per_micro_batch=10_000))
    cut = run(parts, objective, settings(**options, tokens_per_micro_batch=30))
    optimizer = torch.optim.AdamW(reference.parameters(), lr=0.05, weight_decay=0.0)
    upper, lower = reference(objective.inputs[10:]), reference(objective.inputs[:10])
    up, down = ((upper - 1) ** 2).mean(), ((lower + 1) ** 2).mean()
    (up + down).backward()
    optimizer.step()
    for trained in (model, parts):
        torch.testing.assert_close(weights(trained), weights(reference), rtol=1e-5, atol=1e-6)
    for history in (whole, cut):
        assert history.steps[0]["losses"] == pytest.approx({"up": up.item(), "down": down.item()})
        assert history.steps[0]["loss"] == pytest.approx(up.item() + down.item())


def test_a_way_to_the_gradient_can_weigh_tasks_by_their_own_gradients() -> None:
    """As multi-task ways do: each task's gradient by itself, then what is made of them."""

    def summed(model: nn.Module, step: TrainingStep) -> dict[str, float]:
        parameters = list(model.parameters())
        gradients, values = [torch.zeros_like(parameter) for parameter in parameters], {}
        for number in range(len(step.batches)):
            for name, loss in step.losses(number).items():
                values[name] = values.get(name, 0.0) + float(loss.detach())
                for total, part in zip(gradients, torch.autograd.grad(loss, parameters), strict=True):
                    total += part
        for parameter, total in zip(parameters, gradients, strict=True):
            parameter.grad = total
        return values

    model, objective = two_tasks()
    other = copy.deepcopy(model)
    expected = run(model, objective, settings(tokens_per_micro_batch=20))
    history = run(other, objective, settings(tokens_per_micro_batch=20), gradient=summed)
    torch.testing.assert_close(weights(other), weights(model), rtol=1e-5, atol=1e-6)
    assert history.steps[-1]["losses"] == pytest.approx(expected.steps[-1]["losses"], rel=1e-4)


def test_a_single_loss_is_recorded_as_the_loss_alone() -> None:
    model, objective = problem()
    assert set(run(model, objective, settings()).steps[0]) == {"step", "epoch", "loss", "learning_rate"}
