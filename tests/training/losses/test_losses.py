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
    if "class" not in components.constant("losses", name, "FORMS"):
        labels = torch.eye(N_OUTPUTS, dtype=torch.int64)[labels]
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


SEVERAL = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
SCORES = torch.tensor([[0.5, -1.0, 2.0], [-0.3, 0.1, -4.0], [1.0, -2.0, 0.0]], dtype=torch.float64)


def test_binary_cross_entropy_is_the_mean_over_the_labels_of_a_row() -> None:
    losses = components.build("losses", "bce")(SCORES, SEVERAL)
    signed = torch.where(SEVERAL > 0, SCORES, -SCORES)
    torch.testing.assert_close(losses, -torch.nn.functional.logsigmoid(signed).mean(dim=1))


def test_zlpr_is_its_formula_and_with_one_label_close_to_softmax() -> None:
    """Su et al. 2022, eq. 5: log(1 + sum of exp(s) of the wrong labels) + log(1 + sum of exp(-s) of the right ones)."""
    expected = [
        torch.log1p(scores[labels == 0].exp().sum()) + torch.log1p((-scores[labels > 0]).exp().sum())
        for scores, labels in zip(SCORES, SEVERAL, strict=True)
    ]
    zlpr = components.build("losses", "zlpr")
    torch.testing.assert_close(zlpr(SCORES, SEVERAL), torch.stack(expected))
    assert zlpr(torch.tensor([[3e4, -3e4]]), torch.tensor([[1, 0]])).tolist() == [0.0, 0.0][:1]


@pytest.mark.parametrize("name", ["bce", "zlpr"])
def test_losses_of_several_labels_have_the_gradient_of_their_values(name: str) -> None:
    loss = components.build("losses", name)
    assert torch.autograd.gradcheck(lambda scores: loss(scores, SEVERAL), SCORES.clone().requires_grad_())
