"""The loop against plain torch, and what it does when things go wrong."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors.exceptions import DivergedError, InterruptedRun, MachineError
from pipeline.models.prediction import predict_logits
from pipeline.reproducibility import fixed_numerics
from pipeline.units.checkpoints import Checkpoints
from tests.training.regression import Regression, Spike, StopAt, problem, run, settings, weights


def test_F12_accumulated_micro_batches_equal_one_batch_also_when_ragged() -> None:
    """The loss is divided by the weight of the whole batch, so ragged micro-batches add up to the same gradient."""
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


@pytest.mark.parametrize("stop", range(1, 9))
def test_F2_I2_I8_stopped_at_any_step_and_resumed_the_weights_are_bit_equal(tmp_path, stop: int) -> None:
    """Asked to stop at any step, also an epoch's last, training writes a checkpoint; resumed, its bits are the same."""
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


@pytest.mark.parametrize("damage", ["flip", "truncate", "zero", "no manifest", "wrong manifest"])
def test_F9_I4_a_damaged_checkpoint_is_set_aside_and_the_older_one_taken(tmp_path, damage: str) -> None:
    """A checkpoint that does not match its manifest is set aside, the older generation taken, and the bits are the same."""
    undisturbed, objective = problem()
    run(undisturbed, objective, settings())
    model, objective = problem()
    start = copy.deepcopy(model)
    with pytest.raises(InterruptedRun):
        run(model, objective, settings(checkpoint_seconds=1e-9), checkpoints=Checkpoints(tmp_path), monitor=StopAt(5))
    newest = tmp_path / "step-000000005" / "tensors.safetensors"
    content, manifest = bytearray(newest.read_bytes()), newest.with_name("manifest.json")
    if damage == "flip":
        content[-1] ^= 1
        newest.write_bytes(content)
    elif damage == "truncate":
        newest.write_bytes(content[:-100])
    elif damage == "zero":
        newest.write_bytes(content[:-100] + bytes(100))
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text(encoding="utf-8").replace("tensors.safetensors", "other.safetensors"))
    run(start, objective, settings(), checkpoints=Checkpoints(tmp_path))
    assert torch.equal(weights(start), weights(undisturbed))
    assert list(tmp_path.glob("step-000000005.corrupt-*"))


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_F15_I19_not_finite_stops_before_the_optimizer_steps(where: str) -> None:
    """A loss or gradient that is not finite stops with E501 before the step, naming step, rate and rows."""
    model, objective = problem()
    if where == "loss":
        objective.inputs[4] = float("nan")
    else:
        model[2].weight.register_hook(lambda gradient: gradient * float("inf"))
    before = weights(model).clone()
    with pytest.raises(
        DivergedError, match=r"step \d: the loss and gradient must be finite.*rows \[.*4.*Halve the learning"
    ) as caught:
        run(model, objective, settings(batch_size=20))
    assert torch.equal(weights(model), before) and caught.value.code == "E501"


@pytest.mark.parametrize("n_spikes", [1, 2])
def test_F15_rollback_goes_to_the_epochs_start_at_half_the_rate_and_survives_a_kill(tmp_path, n_spikes: int) -> None:
    """`not_finite: rollback` goes back to the epoch's start at half the rate, notes it, and resumes to the same bits."""
    rolling = settings(not_finite="rollback", checkpoint_seconds=1e-9)
    undisturbed, regression = problem()
    model = copy.deepcopy(undisturbed)
    plain = run(copy.deepcopy(undisturbed), regression, settings())

    def spike() -> Spike:
        return Spike(regression.lengths, regression.inputs, n_spikes=n_spikes)

    history = run(undisturbed, spike(), rolling, checkpoints=Checkpoints(tmp_path / "a"))
    assert history.rollbacks == [{"from": 4, "to": 3}] * n_spikes
    assert history.steps[-1]["learning_rate"] == pytest.approx(plain.steps[-1]["learning_rate"] / 2**n_spikes)
    objective = spike()
    with pytest.raises(InterruptedRun):
        run(copy.deepcopy(model), objective, rolling, checkpoints=Checkpoints(tmp_path / "b"), monitor=StopAt(5))
    history = run(model, objective, rolling, checkpoints=Checkpoints(tmp_path / "b"))
    assert history.rollbacks == [{"from": 4, "to": 3}] * n_spikes
    assert torch.equal(weights(model), weights(undisturbed))


def test_F15_a_unit_that_diverges_a_third_time_stops(tmp_path) -> None:
    """After two rollbacks the third divergence stops the unit."""
    model, regression = problem()
    objective = Spike(regression.lengths, regression.inputs, n_spikes=9)
    with pytest.raises(DivergedError):
        run(model, objective, settings(not_finite="rollback"), checkpoints=Checkpoints(tmp_path))
    assert objective.n_spikes == 6


def test_F15_not_finite_in_evaluation_stops_too() -> None:
    """Logits that are not finite end the unit where the epoch is chosen: NaN never becomes label 0."""

    class Nan(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 2)

        def forward(self, batch):
            return self.linear(batch["x"]) * float("nan")

    class Inputs:
        lengths = np.array([1, 1])

        def batch(self, rows):
            return {"x": torch.zeros(len(rows), 1)}

    with pytest.raises(DivergedError, match="logits must be finite"):
        predict_logits(Nan(), Inputs(), 10)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("Tried to allocate"),
        RuntimeError("CUDA out of memory."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        MemoryError(),
    ],
    ids=["OutOfMemoryError", "RuntimeError", "cuBLAS", "CPU", "MemoryError"],
)
def test_F12_out_of_memory_halves_the_micro_batch_and_keeps_steps_and_result(error: Exception) -> None:
    """Out of memory halves the micro-batch and takes the same rows, steps, rates and loss; the choice is recorded."""
    calm, objective = problem()
    calm[1].p = 0.0
    short_of_memory = copy.deepcopy(calm)
    expected = run(calm, objective, settings(tokens_per_micro_batch=40))
    _, objective = problem(fail_at=4, error=error)
    history = run(short_of_memory, objective, settings(tokens_per_micro_batch=40))
    assert history.token_budget == 20
    schedule = [(point["step"], point["learning_rate"]) for point in expected.steps]
    assert [(point["step"], point["learning_rate"]) for point in history.steps] == schedule
    torch.testing.assert_close(weights(short_of_memory), weights(calm), rtol=1e-5, atol=1e-6)


def test_F12_a_resumed_unit_keeps_its_smaller_micro_batch(tmp_path) -> None:
    """The smaller micro-batch is stored with the checkpoint and used after a resume."""
    model, objective = problem(fail_at=2)
    with pytest.raises(InterruptedRun):
        run(model, objective, settings(tokens_per_micro_batch=40), checkpoints=Checkpoints(tmp_path), monitor=StopAt(4))
    model, objective = problem()
    run(model, objective, settings(tokens_per_micro_batch=40), checkpoints=Checkpoints(tmp_path))
    assert max(objective.seen) == 4, "rows of 5 tokens, 20 tokens"


def test_F12_with_the_policy_fail_out_of_memory_stops() -> None:
    """`out_of_memory: fail` stops with E403 instead of adapting."""
    model, objective = problem(fail_at=1)
    with pytest.raises(MachineError, match="out of memory with 40 tokens.*out_of_memory: adapt") as caught:
        run(model, objective, settings(tokens_per_micro_batch=40, out_of_memory="fail"))
    assert caught.value.code == "E403"


def test_F12_out_of_memory_with_one_row_names_the_remedy() -> None:
    """When not even one row fits the unit stops with E403 and says what to lower."""
    model, objective = problem(lengths=[50] * 20, fail_at=1)
    with pytest.raises(MachineError, match="a single row of 50 tokens. Lower max_length"):
        run(model, objective, settings(tokens_per_micro_batch=50))


def test_F13_the_longest_rows_are_tried_before_the_first_step() -> None:
    """One long row that does not fit is known before step 0; the probe changes no bit of the result."""
    model, objective = problem(lengths=[5] * 19 + [512], fail_at=1)
    with pytest.raises(MachineError, match="step 0: out of memory with a single row of 512 tokens"):
        run(model, objective, settings(tokens_per_micro_batch=512))
    assert objective.seen == [1]


def test_F12_another_runtime_error_is_not_retried() -> None:
    """An error that is not about memory is not retried."""
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


class WithoutOther(Regression):
    """Uses an operation that torch has in one form only, one that need not repeat."""

    def loss_sums(self, model, batch, progress):
        torch.zeros(1).put_(torch.tensor([0]), torch.ones(1))
        return super().loss_sums(model, batch, progress)


def test_what_has_no_repeatable_form_is_trained_with_a_warning(caplog) -> None:
    with fixed_numerics(1, on_gpu=True):
        model, objective = problem()
        run(model, WithoutOther(objective.lengths, objective.inputs), settings())
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    with fixed_numerics(1, on_gpu=False):
        expected, objective = problem()
        run(expected, objective, settings())
    assert [record.message[:44] for record in caplog.records] == ["step 0: this model's gradients may differ fr"]
    assert torch.equal(weights(model), weights(expected))
