"""The loop against plain torch, and what it does when things go wrong."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.checkpointing import Checkpoints
from pipeline.exceptions import DivergedError, InterruptedRun, MachineError
from pipeline.params import Training
from pipeline.training import train


@dataclass
class Regression:
    """A linear model on fixed points; a row's length is what the test says."""

    lengths: np.ndarray
    inputs: torch.Tensor
    fail_at: int | None = None
    calls: int = 0

    def batch(self, rows, step):
        return {"inputs": self.inputs[torch.from_numpy(rows)]}

    def weight(self, batch):
        return float(len(batch["inputs"]))

    def loss_sum(self, model, batch, progress):
        self.calls += 1
        if self.calls == self.fail_at:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return ((model(batch["inputs"]) - 1) ** 2).sum()


def problem(lengths: list[int] | None = None, **changes) -> tuple[nn.Module, Regression]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    inputs = torch.randn(20, 3)
    return model, Regression(np.array(lengths or [5] * 20), inputs, **changes)


def settings(**changes) -> Training:
    return Training.model_validate({"epochs": 3, "batch_size": 7, "learning_rate": 0.05, **changes})


def groups(model: nn.Module) -> list[dict]:
    return [{"params": list(model.parameters()), "lr": 0.05, "weight_decay": 0.0}]


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def run(model: nn.Module, objective: Regression, training: Training, **arguments):
    return train(model, objective, groups(model), settings=training, seed=3, device="cpu", **arguments)


def test_accumulated_micro_batches_equal_one_batch_also_when_ragged() -> None:
    whole, objective = problem(lengths=[3, 9, 4, 8, 30] * 4)
    whole[1].p = 0.0
    parts = copy.deepcopy(whole)
    run(whole, objective, settings(tokens_per_micro_batch=10_000))
    history = run(parts, objective, settings(tokens_per_micro_batch=40))
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-5, atol=1e-6)
    assert history.steps[-1]["step"] == 9


def test_the_loop_equals_plain_torch() -> None:
    model, objective = problem()
    model[1].p = 0.0
    reference = copy.deepcopy(model)
    run(model, objective, settings(epochs=1, batch_size=20, warmup_ratio=0.0, max_grad_norm=1000.0))
    optimizer = torch.optim.AdamW(reference.parameters(), lr=0.05, weight_decay=0.0)
    ((reference(objective.inputs) - 1) ** 2).mean().backward()
    optimizer.step()
    torch.testing.assert_close(weights(model), weights(reference))


class StopAt:
    """A monitor that asks to stop at a step."""

    def __init__(self, step: int) -> None:
        self.step, self.now = step, 0

    def progress(self, **values: float) -> None:
        self.now = int(values.get("step", self.now))

    def stop_requested(self) -> int | None:
        return 143 if self.now >= self.step else None


@pytest.mark.parametrize("stop", range(1, 9))
def test_stopped_at_any_step_and_resumed_the_weights_are_bit_equal(tmp_path, stop: int) -> None:
    undisturbed, objective = problem()
    run(undisturbed, objective, settings(), evaluate=lambda model: float(weights(model).sum()))
    model, objective = problem()
    start = copy.deepcopy(model)
    with pytest.raises(InterruptedRun, match=f"interrupted at step {stop} of 9"):
        run(
            model,
            objective,
            settings(),
            checkpoints=Checkpoints(tmp_path),
            monitor=StopAt(stop),
            evaluate=lambda model: float(weights(model).sum()),
        )
    history = run(
        start,
        objective,
        settings(),
        checkpoints=Checkpoints(tmp_path),
        evaluate=lambda model: float(weights(model).sum()),
    )
    assert torch.equal(weights(start), weights(undisturbed))
    assert [point["epoch"] for point in history.epochs] == [0, 1, 2]


def test_a_damaged_checkpoint_is_set_aside_and_the_older_one_taken(tmp_path) -> None:
    undisturbed, objective = problem()
    run(undisturbed, objective, settings())
    model, objective = problem()
    start = copy.deepcopy(model)
    with pytest.raises(InterruptedRun):
        run(model, objective, settings(checkpoint_seconds=1e-9), checkpoints=Checkpoints(tmp_path), monitor=StopAt(5))
    newest = tmp_path / "step-000000005" / "tensors.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    run(start, objective, settings(), checkpoints=Checkpoints(tmp_path))
    assert torch.equal(weights(start), weights(undisturbed))
    assert list(tmp_path.glob("step-000000005.corrupt-*"))


def test_not_finite_stops_before_the_optimizer_steps() -> None:
    model, objective = problem()
    objective.inputs[4] = float("nan")
    before = weights(model).clone()
    with pytest.raises(
        DivergedError, match=r"step \d: the loss and gradient must be finite.*rows \[.*4.*Halve the learning"
    ):
        run(model, objective, settings(batch_size=20))
    assert torch.equal(weights(model), before)


def test_out_of_memory_halves_the_micro_batch_and_keeps_steps_and_result() -> None:
    calm, objective = problem()
    calm[1].p = 0.0
    short_of_memory = copy.deepcopy(calm)
    run(calm, objective, settings(tokens_per_micro_batch=40))
    _, objective = problem(fail_at=2)
    history = run(short_of_memory, objective, settings(tokens_per_micro_batch=40))
    assert history.token_budget == 20 and history.steps[-1]["step"] == 9
    torch.testing.assert_close(weights(short_of_memory), weights(calm), rtol=1e-5, atol=1e-6)


def test_out_of_memory_with_one_row_names_the_remedy() -> None:
    model, objective = problem(lengths=[50] * 20, fail_at=1)
    with pytest.raises(MachineError, match="a single row of 50 tokens. Lower max_length"):
        run(model, objective, settings(tokens_per_micro_batch=50))


def test_another_runtime_error_is_not_retried() -> None:
    model, objective = problem()
    objective.inputs = objective.inputs[:, :2]
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(model, objective, settings())


def test_the_best_inner_epoch_is_kept_not_the_last() -> None:
    model, objective = problem()
    seen: list[torch.Tensor] = []

    def evaluate(model: nn.Module) -> float:
        seen.append(weights(model).clone())
        return [0.1, 0.9, 0.5][len(seen) - 1]

    run(model, objective, settings(), evaluate=evaluate)
    assert torch.equal(weights(model), seen[1])
