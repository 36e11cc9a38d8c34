"""What every loss keeps, and single losses against torch and numbers worked by hand."""

import pytest
import torch

from pipeline import components

N_OUTPUTS = 5
every = pytest.mark.parametrize("name", components.available("losses"))


@every
def test_a_loss_is_one_finite_value_per_row_that_learning_lowers(name: str) -> None:
    loss = components.build("losses", name, n_outputs=N_OUTPUTS)
    logits = torch.randn(6, N_OUTPUTS, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    losses = loss(logits, labels)
    assert losses.shape == (6,) and (losses >= 0).all()
    losses.sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert loss(logits.detach() - 0.1 * logits.grad, labels).sum() < losses.sum()


def test_cross_entropy_equals_torch_and_focal_with_gamma_zero() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(components.build("losses", "cross_entropy", n_outputs=3)(logits, labels), expected)
    torch.testing.assert_close(components.build("losses", "focal", {"gamma": 0.0})(logits, labels), expected)


def test_focal_loss_of_a_worked_number() -> None:
    logits = torch.tensor([[0.8, 0.2]]).log()  # p = 0.8: (1 - 0.8)^2 * -ln 0.8
    value = components.build("losses", "focal", {"gamma": 2.0})(logits, torch.tensor([0]))
    torch.testing.assert_close(value, torch.tensor([0.04 * 0.22314355]))
