"""Ways of sharing: what stands before a task's readout heeds no padding, and penalties pull where the papers say."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from pipeline import components

PRIVATE = {"name": "shared_private", "private": "encoder"}
STAGES: dict[str, dict[str, Any]] = {
    "task_attention": {"name": "task_attention"},
    "shared_private": {"name": "shared_private"},
    "shared_private, encoder": PRIVATE,
}


def stage_of(way: str) -> torch.nn.Module:
    options = dict(STAGES[way])
    name = options.pop("name")
    offered = {**components.defaults("sharing", name), **options, "hidden_size": 8, "n_layers": 2}
    torch.manual_seed(0)
    built: torch.nn.Module = components.call("sharing", name, "stage", **offered)
    return built


def test_every_stage_is_tried_here() -> None:
    named = {name for name in components.available("sharing") if components.has("sharing", name, "stage")}
    assert named == {options["name"] for options in STAGES.values()}


@pytest.mark.parametrize("way", STAGES)
@pytest.mark.parametrize("training", [False, True])
def test_what_stands_at_padding_changes_no_state_of_a_token(way: str, training: bool) -> None:
    stage = stage_of(way).train(training)
    for module in stage.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    states = tuple(torch.randn(3, 5, 8) for _ in range(3))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    other = tuple(torch.where(mask[..., None] == 1, of_layer, 9.0) for of_layer in states)
    first, second = (stage(given, mask)[-1] for given in (states, other))
    torch.testing.assert_close(first[mask == 1], second[mask == 1])
    assert first.isfinite().all()
    short = stage(tuple(of_layer[1:2, :2] for of_layer in states), mask[1:2, :2])[-1]
    torch.testing.assert_close(first[1:2, :2], short, atol=1e-6, rtol=1e-5)


def classifiers_of(means: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> dict[str, Any]:
    return {
        task: SimpleNamespace(readout=SimpleNamespace(stage=SimpleNamespace(means=both)))
        for task, both in means.items()
    }


def penalty_of(**options: Any) -> Any:
    torch.manual_seed(0)
    return components.build("sharing", "shared_private", options, tasks=["a", "b"], hidden_size=4)


def test_states_that_are_to_be_orthogonal_pay_the_square_of_their_cosine() -> None:
    """Worked by hand: of task a the cosines are 1 and 0, of task b it is 3/5."""
    of_a = torch.tensor([[1.0, 0, 0, 0], [0, 2, 0, 0]]), torch.tensor([[5.0, 0, 0, 0], [0, 0, 1, 0]])
    of_b = torch.tensor([[3.0, 4, 0, 0]]), torch.tensor([[2.0, 0, 0, 0]])
    penalty = penalty_of(weight=0.5)(classifiers_of({"a": of_a, "b": of_b}), {"a": 2, "b": 1})
    assert float(penalty) == pytest.approx(0.5 * (1 + 0 + 0.36))


def test_a_discriminator_learns_to_tell_tasks_and_states_learn_that_it_cannot() -> None:
    """Liu et al., 2017, eq. 8: the discriminator gets the gradient of its loss, the shared states its opposite."""
    discriminator = penalty_of(penalty="adversarial", weight=0.5)
    states = {"a": torch.randn(3, 4, requires_grad=True), "b": torch.randn(2, 4, requires_grad=True)}
    classifiers = classifiers_of({task: (of_task, of_task) for task, of_task in states.items()})
    loss = discriminator(classifiers, {"a": 3, "b": 2})
    loss.backward()
    plain = torch.cat([states["a"], states["b"]]).detach().requires_grad_()
    linear = discriminator.logits
    weight, bias = (part.detach().clone().requires_grad_() for part in (linear.weight, linear.bias))
    expected = 0.5 * functional.cross_entropy(plain @ weight.T + bias, torch.tensor([0, 0, 0, 1, 1]), reduction="sum")
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(linear.weight.grad, weight.grad)
    torch.testing.assert_close(torch.cat([states["a"].grad, states["b"].grad]), -plain.grad)
    discriminator.zero_grad()
    discriminator(classifiers, {"b": 2}).backward()  # a batch of one task
    assert linear.weight.grad.abs().sum() > 0
