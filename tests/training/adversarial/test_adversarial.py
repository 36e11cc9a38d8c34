"""Adversarial ways to the gradient against references of ten lines and numbers made by hand; what all of them keep."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from pipeline import components
from pipeline.errors.exceptions import InterruptedRun, ParamsError
from pipeline.models.classifier import TextClassifier, input_embedding
from pipeline.training.divergences import symmetric_kl
from pipeline.training.gradient import RowsOfStep, plain
from pipeline.training.loop import train
from pipeline.training.perturbing import TokenVectors
from pipeline.training.plug_ins import plug_ins
from pipeline.training_contracts import TrainingStep
from pipeline.units.checkpoints import Checkpoints
from tests.training.objectives.test_objectives import labelled, model_of, settings_of
from tests.training.regression import StopAt, weights

WAYS: dict[str, dict[str, Any]] = {
    "awp": {"name": "awp", "epsilon": 0.05, "n_steps": 2},
    "fgm": {"name": "fgm"},
    "fgm, vectors": {"name": "fgm", "moves": "vectors"},
    "freelb": {"name": "freelb"},
    "pgd": {"name": "pgd"},
    "pgd, vectors": {"name": "pgd", "moves": "vectors"},
    "smart": {"name": "smart"},
}
of_ways = pytest.mark.parametrize("way", WAYS)


def test_every_way_is_tried_here() -> None:
    assert {options["name"] for options in WAYS.values()} == set(components.available("adversarial"))


def built(way: str, **more: Any) -> Any:
    options = {**WAYS[way], **more}
    return components.build("adversarial", options.pop("name"), options)


@cache
def accelerator(precision: str = "no") -> Accelerator:
    return Accelerator(cpu=True, mixed_precision=precision)


def step_of(model: nn.Module, family: str = "bert", n: int = 8, budget: int = 60, **objective: Any) -> RowsOfStep:
    """Return a step of a few rows in several micro-batches."""
    trained = labelled(family, **(objective or {"name": "supervised"}))
    return RowsOfStep(model, trained, accelerator(), np.arange(n), 3, 0.5, 7, budget)


def gradients(model: nn.Module, way: Callable[..., Any], step: TrainingStep) -> list[torch.Tensor]:
    model.zero_grad()
    way(model, step)
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


def assert_same(first: list[torch.Tensor], second: list[torch.Tensor], **tolerance: float) -> None:
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, **({"rtol": 1e-5, "atol": 1e-7} | tolerance))


# --- references, as competitors pass them on


def passed(step: TrainingStep) -> None:
    for number in range(len(step.batches)):
        step.backward(step.losses(number)["loss"])


def reference_fgm(model: nn.Module, step: TrainingStep, embedding: nn.Parameter, epsilon: float) -> None:
    passed(step)
    backup = embedding.data.clone()
    norm = torch.norm(embedding.grad)
    if norm != 0 and not torch.isnan(norm):
        embedding.data.add_(epsilon * embedding.grad / norm)
    passed(step)
    embedding.data = backup


def reference_pgd(
    model: nn.Module, step: TrainingStep, embedding: nn.Parameter, epsilon: float, alpha: float, k: int
) -> None:
    passed(step)
    backup, clean = embedding.data.clone(), [p.grad.clone() for p in model.parameters() if p.grad is not None]
    for t in range(k):
        embedding.data.add_(alpha * embedding.grad / torch.norm(embedding.grad))
        if torch.norm(embedding.data - backup) > epsilon:
            r = embedding.data - backup
            embedding.data = backup + epsilon * r / torch.norm(r)
        if t != k - 1:
            model.zero_grad()
        else:
            for p, gradient in zip((p for p in model.parameters() if p.grad is not None), clean, strict=True):
                p.grad = gradient
        passed(step)
    embedding.data = backup


@pytest.mark.parametrize("family", ["bert", "word_vectors"])
def test_fgm_and_pgd_are_the_references(family: str) -> None:
    """Under dropout, over several micro-batches, with rows of the table that the step does not hold."""
    model = model_of(family).train()
    reference, step = copy.deepcopy(model), step_of(model, family)
    assert len(step.batches) > 1
    same = replace(step, model=reference)
    [embedding] = input_embedding(reference.backbone).parameters()

    def fgm(model: nn.Module, step: TrainingStep) -> None:
        reference_fgm(model, step, embedding, 2.0)

    def pgd(model: nn.Module, step: TrainingStep) -> None:
        reference_pgd(model, step, embedding, 0.5, 0.3, 4)

    plainly = gradients(model, plain, step)
    for way, by_hand in (
        (built("fgm", epsilon=2.0), fgm),
        (built("pgd", epsilon=0.5, step_size=0.3, n_steps=4), pgd),
    ):
        found = gradients(model, way, step)
        assert_same(found, gradients(reference, by_hand, same))
        assert not torch.allclose(found[-1], 2 * plainly[-1], rtol=1e-3)


def offset_by(model: TextClassifier, offset: torch.Tensor) -> Any:
    return model.changed_embeddings(lambda vectors: vectors + offset)


def one_batch(model: TextClassifier) -> tuple[RowsOfStep, torch.Tensor]:
    """Return a step of a single micro-batch and zeros of the shape of its token vectors."""
    step = step_of(model, budget=10_000)
    [batch] = step.batches
    return step, torch.zeros_like(input_embedding(model.backbone)(batch["input_ids"])).detach()


def rowwise(tensor: torch.Tensor) -> torch.Tensor:
    return tensor / tensor.flatten(1).norm(dim=1)[:, None, None]


def gradient_at(model: TextClassifier, step: RowsOfStep, offset: torch.Tensor, loss: Any = None) -> torch.Tensor:
    offset = offset.clone().requires_grad_()
    with offset_by(model, offset):
        value = step.losses(0)["loss"] if loss is None else loss(step)
    return torch.autograd.grad(value, offset)[0]


def added_up(model: TextClassifier, losses: Callable[[], list[torch.Tensor]]) -> list[torch.Tensor]:
    model.zero_grad()
    torch.stack(losses()).sum().backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


def test_vectors_are_moved_row_by_row() -> None:
    model = model_of().train()
    step, zeros = one_batch(model)
    moved = 0.7 * rowwise(gradient_at(model, step, zeros))

    def losses() -> list[torch.Tensor]:
        clean = step.losses(0)["loss"]
        with offset_by(model, moved):
            return [clean, step.losses(0)["loss"]]

    by_hand = added_up(model, losses)
    assert_same(gradients(model, built("fgm, vectors", epsilon=0.7), step), by_hand, atol=1e-6)


def test_freelb_is_the_mean_of_the_gradients_met_on_the_way() -> None:
    model = model_of().train()
    step, zeros = one_batch(model)
    first = 0.3 * rowwise(gradient_at(model, step, zeros))
    second = first + 0.3 * rowwise(gradient_at(model, step, first))
    norms = second.flatten(1).norm(dim=1)[:, None, None]
    second = torch.where(norms > 0.4, 0.4 * second / norms, second)

    def losses() -> list[torch.Tensor]:
        values = []
        for offset in (zeros, first, second):
            with offset_by(model, offset):
                values.append(step.losses(0)["loss"] / 3)
        return values

    by_hand = added_up(model, losses)
    way = built("freelb", n_steps=3, step_size=0.3, noise=0.0, epsilon=0.4)
    assert_same(gradients(model, way, step), by_hand, atol=1e-6)


def test_noise_has_its_length_in_every_row_and_leaves_padding_and_dropout_alone() -> None:
    model = model_of().train()
    step, _ = one_batch(model)
    vectors = TokenVectors(model, noise=0.2)
    vectors.during(step, 0, step.outputs)
    [offset] = vectors.offsets.values()
    torch.testing.assert_close(offset.flatten(1).norm(dim=1), torch.full((8,), 0.2))
    padding = step.batches[0]["attention_mask"] == 0
    assert padding.any() and not offset[padding].any()
    vectors.offsets = {place: torch.zeros_like(offset) for place in vectors.offsets}
    again = vectors.during(step, 0, step.outputs)
    assert torch.equal(again, step.outputs(0)), "dropout is that of a pass without noise"


def test_awp_takes_the_gradient_where_each_weight_has_moved_by_its_share() -> None:
    model = model_of().train()
    reference, step = copy.deepcopy(model), step_of(model)
    same = replace(step, model=reference)
    passed(same)
    backup = copy.deepcopy(reference.state_dict())
    for parameter in reference.parameters():
        if parameter.ndim > 1 and parameter.grad is not None:
            norm = parameter.grad.norm()
            parameter.data.add_(0.05 * parameter.data.norm() * parameter.grad / norm if norm else 0.0)
    by_hand = gradients(reference, lambda model, step: passed(step), same)
    reference.load_state_dict(backup)
    assert_same(gradients(model, built("awp", n_steps=1), step), by_hand, atol=1e-6)


def test_smoothness_is_the_divergence_where_a_row_changes_most() -> None:
    model = model_of().train()
    step, zeros = one_batch(model)
    generator = torch.Generator()
    step.outputs(0)
    generator.manual_seed(torch.initial_seed())
    mask = step.batches[0]["attention_mask"].unsqueeze(-1)
    start = 0.01 * rowwise((torch.rand(zeros.shape, generator=generator) * 2 - 1) * mask)

    def divergence(step: RowsOfStep) -> torch.Tensor:
        moved = step.outputs(0)
        hooks = input_embedding(model.backbone)._forward_hooks
        kept = dict(hooks)
        hooks.clear()
        clean = step.outputs(0)
        hooks.update(kept)
        return symmetric_kl(clean, moved).mean()

    end = start + 0.5 * rowwise(gradient_at(model, step, start, divergence))
    norms = end.flatten(1).norm(dim=1)[:, None, None]
    end = torch.where(norms > 0.4, 0.4 * end / norms, end)

    def losses() -> list[torch.Tensor]:
        clean = step.losses(0)["loss"]
        with offset_by(model, end):
            return [clean, 3.0 * divergence(step)]

    by_hand = added_up(model, losses)
    way = built("smart", weight=3.0, noise=0.01, step_size=0.5, epsilon=0.4)
    assert_same(gradients(model, way, step), by_hand, atol=1e-6)
    values = way(model, step)
    assert list(values) == ["loss", "smoothness"] and values["smoothness"] > 0


# --- what all of them keep


@pytest.mark.parametrize("way", ["fgm", "freelb", "awp"])
@pytest.mark.parametrize("family", ["albert", "deberta-v2", "bart", "t5", "xlnet", "word_vectors"])
def test_gradients_are_finite_in_every_family(way: str, family: str) -> None:
    model = model_of(family).train()
    step = step_of(model, family, n=4)
    plainly, found = gradients(model, plain, step), gradients(model, built(way), step)
    assert all(torch.isfinite(gradient).all() for gradient in found)
    assert any(not torch.equal(*pair) for pair in zip(found, plainly, strict=True))


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"smart"}))
def test_micro_batches_add_up_to_the_gradient_of_one_batch(way: str) -> None:
    """To 1e-6 in fp64; noise, from which smoothness has its direction, is drawn for each micro-batch, as dropout is."""
    noise = {"noise": 0.0} if way == "freelb" else {}
    model = model_of().double().eval()
    whole, parts = (step_of(model, n=24, budget=budget) for budget in (10_000, 120))
    assert (len(whole.batches), len(parts.batches) > 2) == (1, True)
    first, second = (gradients(model, built(way, **noise), step) for step in (whole, parts))
    assert_same(first, second, rtol=1e-6, atol=1e-9)


@dataclass
class Scaled:
    """A step whose backward pass is scaled, as fp16's is."""

    step: RowsOfStep
    scale: float = 2.0**16

    def __getattr__(self, name: str) -> Any:
        return getattr(self.step, name)

    def backward(self, loss: torch.Tensor, *, retain_graph: bool = False) -> None:
        (self.scale * loss).backward()


@of_ways
def test_a_scaled_gradient_moves_nothing_further(way: str) -> None:
    """With fp16 the gradients are scaled; the directions and the sum are the same but for the scale."""
    model = model_of().train()
    step = step_of(model)
    plainly, scaled = gradients(model, built(way), step), gradients(model, built(way), Scaled(step))
    assert_same(plainly, [gradient / 2.0**16 for gradient in scaled], rtol=1e-4, atol=1e-6)


@of_ways
def test_an_infinite_gradient_moves_nothing_and_stays_infinite(way: str) -> None:
    """So that the loop stops, or fp16's scaler skips the step; weights are what they were."""
    model = model_of().train()
    before = weights(model)
    found = gradients(model, built(way), Scaled(step_of(model), scale=float("inf")))
    assert not all(torch.isfinite(gradient).all() for gradient in found)
    assert torch.equal(weights(model), before)


@of_ways
def test_under_bf16_gradients_are_finite(way: str) -> None:
    model = model_of().train()
    step = step_of(model)

    class Bf16:
        device = torch.device("cpu")

        def autocast(self) -> Any:
            return torch.autocast("cpu", torch.bfloat16)

        def backward(self, loss: torch.Tensor, *, retain_graph: bool = False) -> None:
            loss.backward()

    found = gradients(model, built(way), replace(step, accelerator=Bf16()))  # type: ignore[arg-type]
    assert all(torch.isfinite(gradient).all() for gradient in found)


@pytest.mark.parametrize("way", ["fgm", "freelb", "smart"])
@pytest.mark.parametrize("objective", ["token_cutoff", "uda", "mixup"])
def test_it_goes_with_every_objective(way: str, objective: str) -> None:
    """Also with those that pass several batches of different shapes through the model, some without gradients."""
    model = model_of().train()
    found = gradients(model, built(way), step_of(model, name=objective))
    assert all(torch.isfinite(gradient).all() for gradient in found)


@of_ways
@pytest.mark.parametrize("fail_at", [1, 2, 4])
def test_an_error_in_any_pass_leaves_the_model_as_it_was(way: str, fail_at: int) -> None:
    model = model_of().train()
    step, before = step_of(model), weights(model)
    batch = step.batches[0]
    logits = copy.deepcopy(model).eval()(batch)
    passes = iter(range(1, 100))

    def fail(module: nn.Module, inputs: Any, output: Any) -> None:
        if next(passes) == fail_at:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = model.readout.register_forward_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        built(way)(model, step)
    handle.remove()
    assert torch.equal(weights(model), before) and torch.equal(model.eval()(batch), logits)


@of_ways
def test_weights_are_left_bit_for_bit(way: str) -> None:
    model = model_of().train()
    before = weights(model)
    built(way)(model, step_of(model))
    assert torch.equal(weights(model), before)


# --- in the loop


def trained(model: TextClassifier, way: str | None, **arguments: Any) -> Any:
    changes = arguments.pop("training", {})
    settings = settings_of(tokens_per_micro_batch=100, adversarial=way and WAYS[way], **changes)
    groups = [{"params": list(model.parameters()), "lr": 5e-3, "weight_decay": 0.0}]
    objective = labelled(name="supervised")
    return train(
        model, objective, groups, settings=settings, seed=3, device="cpu", **plug_ins(settings, groups), **arguments
    )  # fmt: skip


@of_ways
def test_stopped_and_resumed_the_weights_are_bit_equal(way: str, tmp_path) -> None:
    """Before and after the epoch in which it begins."""
    options: dict[str, Any] = {"training": {"adversarial_start_epoch": 1}}
    whole = model_of()
    trained(whole, way, **options)
    resumed, folder = model_of(), Checkpoints(tmp_path)
    for stop in (2, 5):
        with pytest.raises(InterruptedRun):
            trained(model_of(), way, checkpoints=folder, monitor=StopAt(stop), **options)
    trained(resumed, way, checkpoints=folder, **options)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize("way", ["awp", "pgd"])
def test_killed_while_weights_are_moved_it_resumes_to_the_same_bits(way: str, tmp_path) -> None:
    """What a checkpoint holds is never a moved weight."""
    often: dict[str, Any] = {"training": {"checkpoint_seconds": 1e-9}}
    whole, killed, resumed = model_of(), model_of(), model_of()
    trained(whole, way, **often)
    passes = iter(range(1, 1000))

    def kill(module: nn.Module, inputs: Any, output: Any) -> None:
        if next(passes) == 21:
            raise KeyboardInterrupt

    killed.readout.register_forward_hook(kill)
    with pytest.raises(KeyboardInterrupt):
        trained(killed, way, checkpoints=Checkpoints(tmp_path), **often)
    assert list(tmp_path.glob("step-*"))
    trained(resumed, way, checkpoints=Checkpoints(tmp_path), **often)
    assert torch.equal(weights(resumed), weights(whole))


def test_until_its_epoch_training_is_plain_to_the_last_bit() -> None:
    plainly, later, always = model_of(), model_of(), model_of()
    one, two = {"epochs": 2}, {"epochs": 2, "adversarial_start_epoch": 1}
    histories = [trained(model, way, training=changes) for model, way, changes in (
        (plainly, None, one), (later, "fgm", two), (always, "fgm", one),
    )]  # fmt: skip
    plain_losses, later_losses, always_losses = ([point["loss"] for point in history.steps] for history in histories)
    assert plain_losses[:3] == later_losses[:3] != always_losses[:3]
    assert [set(point.get("losses", ())) for point in histories[1].steps[2:4]] == [set(), {"loss", "adversarial"}]
    assert not torch.equal(weights(later), weights(plainly))


def test_memory_is_tried_with_the_attack_also_when_it_begins_later() -> None:
    model, passes = model_of(), []
    model.register_forward_hook(lambda *_: passes.append(1))
    with pytest.raises(InterruptedRun):
        trained(
            model, "fgm", training={"adversarial_start_epoch": 1}, monitor=StopAt(1),
        )  # fmt: skip
    n_batches = len(passes) // 3
    assert len(passes) == 3 * n_batches, "the probe passes twice, the first step once"


def test_nothing_is_plugged_in_unless_it_is_switched_on() -> None:
    assert plug_ins(settings_of(), []) == {"hooks": []}


# --- errors


@pytest.mark.parametrize("way", ["fgm", "pgd"])
def test_frozen_embeddings_are_refused_where_their_weights_are_to_move(way: str) -> None:
    model = model_of().train()
    input_embedding(model.backbone).requires_grad_(False)
    with pytest.raises(ParamsError, match="token embeddings, whose weights are frozen. Let them learn, set its option"):
        built(way)(model, step_of(model))
    found = gradients(model, built(f"{way}, vectors"), step_of(model))
    assert all(torch.isfinite(gradient).all() for gradient in found)


def test_embeddings_that_are_not_found_are_named() -> None:
    model = model_of().train()
    step = step_of(model)
    model.backbone = nn.Linear(2, 2)  # type: ignore[assignment]
    with pytest.raises(ParamsError, match="no token embeddings were found in Linear"):
        built("fgm")(model, step)


@pytest.mark.parametrize("way", ["fgm", "pgd, vectors"])
def test_embeddings_without_a_gradient_are_refused(way: str) -> None:
    model = model_of().train()

    def cut(module: nn.Module, inputs: Any, output: Any) -> None:
        output.hidden_states = tuple(states.detach() for states in output.hidden_states)

    model.backbone.register_forward_hook(cut)
    with pytest.raises(ParamsError, match="the loss gives no gradient to what it moves"):
        built(way)(model, step_of(model))
