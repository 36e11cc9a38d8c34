"""What every component of every folder must keep: tried on whatever is found there."""

import ast

import pytest
import torch

from pipeline import components
from pipeline.contracts import Corpus
from pipeline.errors.exceptions import ParamsError

KINDS = (
    "encoders",
    "poolings",
    "heads",
    "fusions",
    "losses",
    "objectives",
    "augmenters",
    "similarities",
    "optimizers",
    "schedules",
    "baselines",
    "stackers",
    "metrics",
    "formats",
)
EVERY = [(kind, name) for kind in KINDS for name in components.available(kind)]
SIZE, N_LAYERS, N_OUTPUTS = 12, 3, 5


def of_kind(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", components.available(kind))


def hidden_states(seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(4, 7, SIZE, generator=generator, requires_grad=True) for _ in range(N_LAYERS + 1))


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6, [1] * 2 + [0] * 5])


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_component_says_what_it_is_and_types_its_options(kind: str, name: str) -> None:
    tree = components.source(kind, name)
    assert ast.get_docstring(tree), "a module docstring"
    build = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "build")
    assert ast.get_docstring(build) and build.returns is not None
    assert not build.args.args, "everything is keyword-only"
    assert all(argument.annotation is not None for argument in build.args.kwonlyargs)


@of_kind("poolings")
def test_a_pooling_gives_one_finite_vector_and_ignores_padding(name: str, mask: torch.Tensor) -> None:
    pooling = components.load("poolings", name)(hidden_size=SIZE, n_layers=N_LAYERS)
    states = hidden_states()
    pooled = pooling(states, mask)
    assert pooled.shape == (4, SIZE) and pooled.dtype == torch.float32
    changed = tuple(torch.where(mask.unsqueeze(-1) == 1, state, 99.0) for state in states)
    torch.testing.assert_close(pooling(changed, mask), pooled)
    pooled.sum().backward()
    used = [state.grad for state in states if state.grad is not None]
    assert used and all(torch.isfinite(grad).all() for grad in used)


@of_kind("poolings")
def test_a_pooling_stays_finite_on_padding_only(name: str, mask: torch.Tensor) -> None:
    pooling = components.load("poolings", name)(hidden_size=SIZE, n_layers=N_LAYERS)
    assert torch.isfinite(pooling(hidden_states(), torch.zeros_like(mask))).all()


@of_kind("poolings")
def test_a_pooling_gives_a_row_the_same_vector_alone_as_in_a_batch(name: str, mask: torch.Tensor) -> None:
    pooling = components.load("poolings", name)(hidden_size=SIZE, n_layers=N_LAYERS)
    states = hidden_states()
    alone = pooling(tuple(state[1:2, :4] for state in states), mask[1:2, :4])
    torch.testing.assert_close(alone, pooling(states, mask)[1:2])


def head_inputs(name: str, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
    states = hidden_states()[-1]
    return (states.mean(dim=1),) if components.constant("heads", name, "READS") == "vector" else (states, mask)


@of_kind("heads")
def test_a_head_gives_logits_finite_gradients_and_the_same_result_for_the_same_seed(
    name: str, mask: torch.Tensor
) -> None:
    assert components.constant("heads", name, "READS") in ("vector", "tokens")
    results = []
    for _ in range(2):
        torch.manual_seed(1)
        head = components.load("heads", name)(input_size=SIZE, n_outputs=N_OUTPUTS)
        logits = head(*head_inputs(name, mask))
        logits.sum().backward()
        results.append(logits)
    assert results[0].shape == (4, N_OUTPUTS)
    assert torch.equal(*results)
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)
    other = components.load("heads", name)(input_size=SIZE, n_outputs=N_OUTPUTS)
    other.load_state_dict(head.state_dict())
    inputs = head_inputs(name, mask)
    assert torch.equal(other.eval()(*inputs), head.eval()(*inputs))


@pytest.mark.parametrize(
    "name", [name for name in components.available("heads") if components.constant("heads", name, "READS") == "tokens"]
)
def test_a_token_head_ignores_what_stands_at_masked_positions(name: str, mask: torch.Tensor) -> None:
    head = components.load("heads", name)(input_size=SIZE, n_outputs=N_OUTPUTS).eval()
    states = hidden_states()[-1].detach()
    changed = torch.where(mask.unsqueeze(-1) == 1, states, 99.0)
    torch.testing.assert_close(head(changed, mask), head(states, mask))
    torch.testing.assert_close(head(states[1:2, :4], mask[1:2, :4]), head(states, mask)[1:2])
    assert torch.isfinite(head(states, torch.zeros_like(mask))).all()


def sides_of(sizes: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 7, size, generator=generator, requires_grad=True) for size in sizes]


every_fusion = pytest.mark.parametrize(
    ("name", "sizes"), [(name, sizes) for name in components.available("fusions") for sizes in ([12, 8], [8, 12, 8])]
)


@every_fusion
def test_a_fusion_gives_one_state_per_token_and_every_side_and_parameter_learns(
    name: str, sizes: list[int], mask: torch.Tensor
) -> None:
    fusion = components.load("fusions", name)(sizes=sizes)
    sides = sides_of(sizes)
    fused = fusion(sides, mask)
    assert isinstance(fusion.output_size, int)
    assert fused.shape == (4, 7, fusion.output_size) and fused.dtype == torch.float32
    (fused**2).mean().backward()
    for tensor in (*sides, *fusion.parameters()):
        assert torch.isfinite(tensor.grad).all() and (tensor.grad != 0).any()


@every_fusion
def test_a_fusion_has_the_same_weights_for_the_same_seed_and_loads_what_it_saved(
    name: str, sizes: list[int], mask: torch.Tensor
) -> None:
    def build(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return components.load("fusions", name)(sizes=sizes).eval()

    fusion, same, other = build(1), build(1), build(2)
    expected = fusion(sides_of(sizes), mask)
    assert torch.equal(same(sides_of(sizes), mask), expected)
    other.load_state_dict(fusion.state_dict())
    assert torch.equal(other(sides_of(sizes), mask), expected)


@every_fusion
def test_a_fusion_keeps_masked_positions_away_from_the_others(name: str, sizes: list[int], mask: torch.Tensor) -> None:
    fusion = components.load("fusions", name)(sizes=sizes).eval()
    sides, tokens = sides_of(sizes), mask == 1
    fused = fusion(sides, mask)
    changed = [torch.where(tokens.unsqueeze(-1), side, 99.0) for side in sides]
    torch.testing.assert_close(fusion(changed, mask)[tokens], fused[tokens])
    torch.testing.assert_close(fusion([side[1:2, :4] for side in sides], mask[1:2, :4]), fused[1:2, :4])


@every_fusion
def test_a_fusion_and_its_gradients_stay_finite_on_padding_only(
    name: str, sizes: list[int], mask: torch.Tensor
) -> None:
    fusion = components.load("fusions", name)(sizes=sizes)
    sides = sides_of(sizes)
    fused = fusion(sides, torch.zeros_like(mask))
    fused.sum().backward()
    assert torch.isfinite(fused).all()
    assert all(torch.isfinite(tensor.grad).all() for tensor in (*sides, *fusion.parameters()))


@every_fusion
def test_a_fusion_takes_half_precision(name: str, sizes: list[int], mask: torch.Tensor) -> None:
    fusion = components.load("fusions", name)(sizes=sizes).to(torch.bfloat16)
    fused = fusion([side.to(torch.bfloat16) for side in sides_of(sizes)], mask)
    assert fused.dtype == torch.bfloat16 and torch.isfinite(fused).all()


@of_kind("losses")
def test_a_loss_is_one_finite_value_per_row_that_learning_lowers(name: str) -> None:
    loss = components.load("losses", name)(n_outputs=N_OUTPUTS)
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
    torch.testing.assert_close(components.load("losses", "cross_entropy")(n_outputs=3)(logits, labels), expected)
    torch.testing.assert_close(components.load("losses", "focal")(n_outputs=3, gamma=0.0)(logits, labels), expected)


def test_focal_loss_of_a_worked_number() -> None:
    logits = torch.tensor([[0.8, 0.2]]).log()  # p = 0.8: (1 - 0.8)^2 * -ln 0.8
    value = components.load("losses", "focal")(n_outputs=2, gamma=2.0)(logits, torch.tensor([0]))
    torch.testing.assert_close(value, torch.tensor([0.04 * 0.22314355]))


@of_kind("optimizers")
def test_an_optimizer_takes_each_groups_rate_and_resumes_from_its_state(name: str) -> None:
    build = components.load("optimizers", name)

    def steps(n: int, weights: torch.nn.Parameter, state: dict | None = None) -> dict:
        optimizer = build(parameter_groups=[{"params": [weights], "lr": 0.1, "weight_decay": 0.0}])
        if state is not None:
            optimizer.load_state_dict(state)
        for _ in range(n):
            optimizer.zero_grad()
            (weights**2).sum().backward()
            optimizer.step()
        return optimizer.state_dict()

    whole, parts = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    steps(5, whole)
    steps(3, parts, steps(2, parts))
    assert torch.equal(whole, parts) and (whole.abs() < 1).all()


@of_kind("schedules")
@pytest.mark.parametrize(("n_steps", "n_warmup_steps"), [(10, 3), (10, 0), (1, 0), (5, 5)])
def test_a_schedule_stays_between_zero_and_one_and_rises_only_while_warming_up(
    name: str, n_steps: int, n_warmup_steps: int
) -> None:
    factor = components.load("schedules", name)(n_steps=n_steps, n_warmup_steps=n_warmup_steps)
    values = [factor(step) for step in range(n_steps)]
    assert all(0 < value <= 1 for value in values)
    after = values[n_warmup_steps:]
    assert after == sorted(after, reverse=True)
    assert values[:n_warmup_steps] == sorted(values[:n_warmup_steps])


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_schedules_equal_those_of_transformers(name: str) -> None:
    from transformers import get_scheduler

    n_steps, n_warmup_steps = 20, 5
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = get_scheduler(name, optimizer, n_warmup_steps, n_steps)
    factor = components.load("schedules", name)(n_steps=n_steps, n_warmup_steps=n_warmup_steps)
    for step in range(n_steps):
        # Ours warms up from 1 / n instead of 0, so that no step is wasted.
        if step >= n_warmup_steps:
            assert factor(step) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


TEXTS = [
    "Forest fire near La Ronge, don't panic! Everybody should leave the town now. The roads are open.",
    "今天天气很好，我们去公园散步吧！昨天下雨了，大家都在家里休息。明天还要上班。",
    "我们 go to New York 玩，see you @bob http://t.co/x",
    "",
    " \n",
    "😀👍🏽",
    "!!!",
    "x",
    "the of and a",
    "的了是在",
    "very long " * 400,
]


@of_kind("augmenters")
def test_an_augmenter_gives_new_texts_that_depend_on_text_and_seed_alone(name: str) -> None:
    corpus = Corpus(TEXTS * 2, [number % 2 for number in range(len(TEXTS) * 2)])
    try:
        augmenter = components.load("augmenters", name)(corpus=corpus, device="cpu")
    except ParamsError as error:  # how it does with one is tested in tests/augment/augmenters
        pytest.skip(f"needs a file or a model: {error}")
    none = frozenset[str]()

    def variants(texts: list[str], n: int, reserved: frozenset[str] = none) -> list[list[str]]:
        seeds = [TEXTS.index(text) + 7 for text in texts]
        return augmenter.augment(texts, n_variants=n, seeds=seeds, reserved=[reserved] * len(texts))

    found = variants(TEXTS, 3)
    assert len(found) == len(TEXTS)
    for text, own in zip(TEXTS, found, strict=True):
        assert len(own) <= 3 and len(set(own)) == len(own) and text not in own
        assert all(one.strip() for one in own)
    assert found[3] == found[4] == [], "nothing is made of nothing"
    assert variants(TEXTS[::-1], 3) == found[::-1]
    assert [variants([text], 1)[0] for text in TEXTS] == [own[:1] for own in found]
    terms = frozenset({"la ronge", "公园", "New York"})
    if components.constant("augmenters", name, "SPARES"):
        for text, own in zip(TEXTS, variants(TEXTS, 3, terms), strict=True):
            for term in ("La Ronge", "公园", "New York"):
                assert all(one.count(term) >= text.count(term) for one in own)
