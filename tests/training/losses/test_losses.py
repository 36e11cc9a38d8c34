"""What every loss keeps; single losses against torch, other libraries and numbers worked by hand; sums of several."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from pipeline import components
from pipeline.errors.exceptions import ParamsError
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component, component
from pipeline.training.classification import Classification, build_objective
from pipeline.training.loop import train
from pipeline.training.objectives.supervised_contrastive import contrasts

N_OUTPUTS = 5
LABELS = [f"label {number}" for number in range(N_OUTPUTS)]
NEEDED: dict[str, dict[str, Any]] = {"concurrent_softmax": {"rates": {"label 0": {"label 1": 0.5}}}}
every = pytest.mark.parametrize("name", components.available("losses"))


def build(value: Any, *, targets: list[Any] | None = None, labels: list[str] | None = None) -> Any:
    """Build a loss as params name it."""
    named: Component = TypeAdapter(component("losses")).validate_python(value)
    labels = labels or LABELS
    return named.build(n_outputs=len(labels), labels=labels, targets=np.array(targets or [0]))


def in_form_of(name: str, labels: list[int]) -> torch.Tensor:
    """Return one label of each row as the loss takes them: as its number, or as 0 and 1 for each label."""
    numbers, forms = torch.tensor(labels), components.constant("losses", name, "FORMS")
    return numbers if forms is None or {"class", "rank"} & set(forms) else nn.functional.one_hot(numbers, N_OUTPUTS)


@every
def test_a_loss_is_one_finite_value_per_row_that_learning_lowers(name: str) -> None:
    loss = build({"name": name, **NEEDED.get(name, {})})
    logits = torch.randn(6, N_OUTPUTS, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = in_form_of(name, [0, 1, 2, 3, 4, 0])
    losses = loss(logits, labels)
    assert losses.shape == (6,) and (losses >= 0).all()
    losses.sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert loss(logits.detach() - 0.1 * logits.grad, labels).sum() < losses.sum()


@every
def test_the_gradient_of_a_loss_is_that_of_its_formula(name: str) -> None:
    loss = build({"name": name, **NEEDED.get(name, {})})
    logits = torch.randn(
        4, N_OUTPUTS, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda logits: loss(logits, in_form_of(name, [0, 1, 2, 0])), logits)


@every
@pytest.mark.parametrize("sure_of", [0, 1], ids=["right", "wrong"])
def test_logits_that_leave_no_doubt_give_finite_gradients(name: str, sure_of: int) -> None:
    options = {"focal": {"gamma": 0.5}, **NEEDED}.get(name, {})
    logits = torch.zeros(2, N_OUTPUTS)
    logits[:, sure_of] = 1000.0
    logits.requires_grad_()
    losses = build({"name": name, **options})(logits, in_form_of(name, [0, 0]))
    losses.sum().backward()
    assert torch.isfinite(losses).all() and torch.isfinite(logits.grad).all()


def test_corn_is_the_paper_s_sum_over_conditional_subsets_and_a_log_likelihood() -> None:
    """Shi, Cao & Raschka, 2021: each step's cross-entropy over the rows whose label is at least that of the step."""
    logits = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 4
    total = 0.0
    for step in range(3):
        subset = labels > step - 1
        log_sigmoid, goes_on = nn.functional.logsigmoid(logits[subset, step]), (labels[subset] > step).double()
        total -= (log_sigmoid * goes_on + (log_sigmoid - logits[subset, step]) * (1 - goes_on)).sum()
    losses = build("corn", labels=LABELS[:3])(logits, labels)
    torch.testing.assert_close(losses.sum(), total)
    values = components.build("task_kinds", "ordinal").values(logits.numpy())
    np.testing.assert_allclose(losses.numpy(), -np.log(values[np.arange(50), labels]), rtol=1e-12)


def test_corn_of_a_worked_row() -> None:
    """At logits 0 and ln 3 the middle label has 1/2 * (1 - 3/4)."""
    loss = build("corn", labels=LABELS[:2])(torch.tensor([[0.0, math.log(3)]] * 3), torch.tensor([0, 1, 2]))
    torch.testing.assert_close(loss, -torch.tensor([1 / 2, 1 / 8, 3 / 8]).log())


def test_cross_entropy_equals_torch_and_others_where_they_are_it() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    same = ["cross_entropy", {"name": "focal", "gamma": 0.0}, {"name": "poly", "epsilon": 0.0}, "weighted_sum"]
    for value in [*same, {"name": "concurrent_softmax", "rates": {}}]:
        torch.testing.assert_close(build(value, labels=LABELS[:3])(logits, labels), expected)


P = torch.tensor([[0.8, 0.2]], dtype=torch.float64)
ROOTS = 0.8 * 0.2**0.5, 0.2 * 0.8**0.5


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"name": "cross_entropy", "label_smoothing": 0.2}, -0.9 * math.log(0.8) - 0.1 * math.log(0.2)),
        ("focal", 0.04 * -math.log(0.8)),
        ({"name": "poly", "epsilon": 2.0}, -math.log(0.8) + 2 * 0.2),
        # Of the label 1 - (2 * 0.8 + 1) / (0.8 + 1 + 1), of the other 1 - 1 / (0.2 + 1).
        ({"name": "dice", "alpha": 0.0}, ((1 - 2.6 / 2.8) + (1 - 1 / 1.2)) / 2),
        ({"name": "dice", "alpha": 0.5}, 1 - ((2 * ROOTS[0] + 1) / (ROOTS[0] + 2) + 1 / (ROOTS[1] + 1)) / 2),
        ("soft_f1", 1 - 2 * 0.8 / (0.8 + 1)),
        ("logit_squeezing", math.log(0.8) ** 2 + math.log(0.2) ** 2),
        # The other label holds too in half of the rows: it counts half.
        ({"name": "concurrent_softmax", "rates": {"a": {"b": 0.5}}}, -math.log(0.8 / (0.8 + 0.5 * 0.2))),
        ({"name": "concurrent_softmax", "rates": {"b": {"a": 0.5}}}, -math.log(0.8)),
    ],
)  # fmt: skip
def test_a_loss_of_a_worked_number(value: Any, expected: float) -> None:
    losses = build(value, labels=["a", "b"])(P.log(), torch.tensor([0]))
    torch.testing.assert_close(losses, torch.tensor([expected], dtype=torch.float64))


def test_soft_f1_of_sure_predictions_is_that_of_scikit_learn_over_the_classes_there_are() -> None:
    from sklearn.metrics import f1_score

    labels, predicted = [0, 0, 1, 1, 2, 2, 2], [0, 1, 1, 1, 2, 0, 2]
    losses = build("soft_f1")(1000 * torch.eye(N_OUTPUTS)[predicted], torch.tensor(labels))
    assert losses.tolist() == pytest.approx([1 - f1_score(labels, predicted, average="macro")] * 7)


def test_concurrent_softmax_counts_its_rates_in_rows_of_several_labels() -> None:
    targets = [[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]  # a with b in 1 of 2, b with a in 1 of 2
    loss = build("concurrent_softmax", labels=["a", "b", "c"], targets=targets)
    logits = torch.tensor([[1.0, 2.0, 0.5], [1.0, 2.0, 0.5]])
    a, b, c = logits[0].exp().tolist()
    both, one = -math.log(a / (a + c)) - math.log(b / (b + c)), -math.log(a / (a + 0.5 * b + c))
    torch.testing.assert_close(loss(logits, torch.tensor([[1, 1, 0], [1, 0, 0]])), torch.tensor([both, one]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "loss.rates: must be given where rows have one label"),
        ({"rates": {"label 9": {"label 0": 0.1}}}, "loss.rates: got 'label 9', expected one of"),
        ({"rates": {"label 0": {"label 1": 2}}}, r"loss.rates.label 0.label 1: must be in \[0, 1\], got 2"),
    ],
)
def test_rates_of_concurrent_softmax_that_cannot_be_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build({"name": "concurrent_softmax", **options})


TWO = {"name": "weighted_sum", "losses": ["cross_entropy", {"name": "focal", "gamma": 1.0}]}


def test_a_weighted_sum_follows_its_weights_over_training() -> None:
    loss = build({**TWO, "weights": [[[0.25, 1], [0.75, 0]], 2.0]}, labels=["a", "b"])
    cross_entropy, focal = -math.log(0.8), 0.2 * -math.log(0.8)
    for progress, weight in [(0.0, 1.0), (0.25, 1.0), (0.5, 0.5), (0.75, 0.0), (0.9, 0.0)]:
        with loss.at(progress):
            assert loss(P.log(), torch.tensor([0])).item() == pytest.approx(weight * cross_entropy + 2 * focal)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": [1.0]}, "loss.weights: must be one for each of 2 losses, got 1"),
        ({"losses": []}, "loss.weights: must be one for each of 0 losses"),
        ({"weights": [1.0, -1.0]}, "loss.weights: must be a number of at least 0, .* got -1.0"),
        ({"weights": [1.0, [[0, 1], [0, 2]]]}, "with progress rising"),
        ({"weights": [1.0, [[0.5]]]}, "or points"),
        ({"losses": ["weighted_sum", "poly"]}, "loss.losses: must not be sums themselves"),
    ],
)
def test_weights_that_cannot_be_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build({**TWO, **changes})


class Rows:
    """Points as inputs."""

    lengths = np.ones(12, np.int64)

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        return {"x": torch.eye(12)[torch.from_numpy(rows)]}


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(12, 3)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = self.linear(batch["x"])
        return logits


TARGETS = np.array([0, 1, 2, 0, 0, 0, 1, 0, 0, 2, 1, 0])


def trained(model: nn.Module, *, micro_batch: int = 4, **settings: Any) -> list[dict[str, Any]]:
    """Train on points and return the history's steps."""
    options = {"epochs": 2, "batch_size": 6, "tokens_per_micro_batch": micro_batch, "learning_rate": 0.1, **settings}
    chosen = Encoder.model_validate({"source": "from_config", **options})
    objective, several = build_objective(chosen, targets=TARGETS, labels=["a", "b", "c"], n_outputs=3)
    rows = Classification(Rows(), torch.from_numpy(TARGETS), objective, sum=several)  # type: ignore[arg-type]
    groups = [{"params": list(model.parameters()), "lr": 0.1, "weight_decay": 0.0}]
    steps: list[dict[str, Any]] = train(model, rows, groups, settings=chosen, seed=0, device="cpu").steps
    return steps


def test_each_loss_of_a_sum_is_logged_and_they_add_up_however_the_step_is_cut() -> None:
    models = [Linear(), Linear(), Linear()]
    loss = {
        **TWO,
        "losses": ["cross_entropy", "logit_squeezing", "cross_entropy"],
        "weights": [1, [[0, 1], [1, 0]], 0.5],
    }
    steps, whole = trained(models[0], loss=loss), trained(models[1], loss=loss, micro_batch=100)
    for step in steps:
        assert list(step["losses"]) == ["cross_entropy", "logit_squeezing", "cross_entropy 3", "objective"]
        assert sum(step["losses"].values()) == pytest.approx(step["loss"], abs=1e-6)
        assert step["losses"]["cross_entropy 3"] == pytest.approx(0.5 * step["losses"]["cross_entropy"], abs=1e-6)
        assert step["losses"]["objective"] == pytest.approx(0, abs=1e-6)
    assert [step["losses"] for step in steps] == [pytest.approx(step["losses"], abs=1e-5) for step in whole]
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict(), rtol=1e-4, atol=1e-5)


def test_a_sum_of_one_trains_as_its_loss_does() -> None:
    models = [Linear(), Linear()]
    trained(models[0], loss={"name": "weighted_sum", "losses": ["focal"], "weights": [1.0]})
    trained(models[1], loss="focal")
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict())


def test_what_an_objective_adds_to_its_losses_is_told_apart() -> None:
    loss = build({**TWO, "weights": [1.0, 3.0]}, labels=["a", "b"])
    logits = P.log().clone().requires_grad_()
    with loss.at(0.0):
        total = (2 * loss(logits, torch.tensor([0])) + 7.0).sum()
        apart = loss.apart(total)
    cross_entropy = -math.log(0.8)
    expected = {"cross_entropy": 2 * cross_entropy, "focal": 6 * 0.2 * cross_entropy, "objective": 7.0}
    assert {name: value.item() for name, value in apart.items()} == pytest.approx(expected)
    [parts], [whole] = (torch.autograd.grad(value, logits, retain_graph=True) for value in (sum(apart.values()), total))
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize(
    ("class_weights", "expected"),
    [
        ("inverse", [12 / (3 * 7), 12 / (3 * 3), 12 / (3 * 2)]),
        ({"name": "effective_number", "beta": 0.9}, None),
        ({"name": "given", "weights": {"c": 4.0}}, [1.0, 1.0, 4.0]),
    ],
)
def test_rows_count_as_much_as_their_class(class_weights: Any, expected: list[float] | None) -> None:
    if expected is None:
        raw = [0.1 / (1 - 0.9**n) for n in (7, 3, 2)]
        expected = [12 * weight / (7 * raw[0] + 3 * raw[1] + 2 * raw[2]) for weight in raw]
        assert all(lower < higher for lower, higher in pairwise(expected))
    chosen = Encoder.model_validate({"source": "from_config", "loss": "focal", "class_weights": class_weights})
    objective, _ = build_objective(chosen, targets=TARGETS, labels=["a", "b", "c"], n_outputs=3)
    model, logits = Linear(), torch.randn(3, 3)
    plain = build("focal")(logits, torch.arange(3))
    for label in range(3):
        model.forward = lambda batch, label=label: logits[label : label + 1]  # type: ignore[assignment]
        value = objective(model, {"labels": torch.tensor([label])}, 0.0)
        assert value.item() == pytest.approx(expected[label] * plain[label].item())


def test_inverse_class_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    expected = compute_class_weight("balanced", classes=np.arange(3), y=TARGETS)
    assert components.build("class_weights", "inverse", counts=[7, 3, 2]) == pytest.approx(expected.tolist())


@pytest.mark.parametrize("name", components.available("class_weights"))
def test_class_weights_are_finite_also_for_a_class_without_rows(name: str) -> None:
    weights = components.build("class_weights", name, labels=["a", "b", "c"], counts=[5, 0, 1_000_000])
    assert len(weights) == 3 and all(math.isfinite(weight) and weight >= 0 for weight in weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"angri": 2.0}, "class_weights: got 'angri', expected one of .*Did you mean 'angry'"),
        ({"angry": 0}, "class_weights.angry: must be a number above 0, got 0"),
        ({"angry": "much"}, "must be a number above 0, got 'much'"),
    ],
)
def test_a_weight_of_an_unknown_class_or_that_is_none_is_an_error(weights: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        components.build("class_weights", "given", {"weights": weights}, labels=["calm", "angry"], counts=[1, 1])


def test_contrasts_of_worked_numbers() -> None:
    """Unit vectors at 0, 60 and 90 degrees; the first two are alike."""
    features = torch.tensor([[2.0, 0.0], [0.5, 3**0.5 / 2], [0.0, 3.0]], dtype=torch.float64)
    near, far = math.exp(0.5 / 0.5), math.exp(math.cos(math.pi / 6) / 0.5)
    expected = [-math.log(near / (near + 1)), -math.log(near / (near + far)), 0.0]
    values = contrasts(features, torch.tensor([0, 0, 1]), temperature=0.5)
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64))
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: contrasts(rows, torch.tensor([0, 0, 1]), temperature=0.5), features)


def test_contrasts_of_a_single_row_are_zero_and_have_a_gradient() -> None:
    features = torch.ones(1, 3, requires_grad=True)
    contrasts(features, torch.tensor([1]), temperature=0.1).sum().backward()
    assert torch.equal(features.grad, torch.zeros(1, 3))


SEVERAL = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
SCORES = torch.tensor([[0.5, -1.0, 2.0], [-0.3, 0.1, -4.0], [1.0, -2.0, 0.0]], dtype=torch.float64)


def test_binary_cross_entropy_is_the_mean_over_the_labels_of_a_row() -> None:
    losses = build("bce")(SCORES, SEVERAL)
    signed = torch.where(SEVERAL > 0, SCORES, -SCORES)
    torch.testing.assert_close(losses, -torch.nn.functional.logsigmoid(signed).mean(dim=1))


def test_zlpr_is_its_formula_and_with_one_label_close_to_softmax() -> None:
    """Su et al. 2022, eq. 5: log(1 + sum of exp(s) of the wrong labels) + log(1 + sum of exp(-s) of the right ones)."""
    expected = [
        torch.log1p(scores[labels == 0].exp().sum()) + torch.log1p((-scores[labels > 0]).exp().sum())
        for scores, labels in zip(SCORES, SEVERAL, strict=True)
    ]
    zlpr = build("zlpr")
    torch.testing.assert_close(zlpr(SCORES, SEVERAL), torch.stack(expected))
    assert zlpr(torch.tensor([[3e4, -3e4]]), torch.tensor([[1, 0]])).tolist() == [0.0, 0.0][:1]


@pytest.mark.parametrize("name", ["bce", "zlpr"])
def test_losses_of_several_labels_have_the_gradient_of_their_values(name: str) -> None:
    loss = build(name)
    assert torch.autograd.gradcheck(lambda scores: loss(scores, SEVERAL), SCORES.clone().requires_grad_())
