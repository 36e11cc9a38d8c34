"""What every fusion keeps; single ones against what they are in the papers, written out by hand."""

import pytest
import torch

from pipeline import components

MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])


def sides(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, size, generator=generator) for size in sizes]


@pytest.mark.parametrize("sizes", [(4, 6), (4, 6, 2)])
def test_concatenation_keeps_every_side_in_its_order(sizes: tuple[int, ...]) -> None:
    fusion = components.load("fusions", "concatenation")(sizes=sizes)
    assert torch.equal(fusion(sides(*sizes), MASK), torch.cat(sides(*sizes), dim=-1))
    assert fusion.output_size == sum(sizes)


@pytest.mark.parametrize("sizes", [(4, 6), (4, 6, 2)])
def test_a_gated_sum_without_gates_is_the_mean_of_the_projections(sizes: tuple[int, ...]) -> None:
    fusion = components.load("fusions", "gated_sum")(sizes=sizes, hidden_size=5)
    torch.nn.init.zeros_(fusion.gate.weight)
    torch.nn.init.zeros_(fusion.gate.bias)
    projected = [project(side) for project, side in zip(fusion.project, sides(*sizes), strict=True)]
    torch.testing.assert_close(fusion(sides(*sizes), MASK), sum(projected) / len(sizes))


def test_a_gated_sum_of_two_sides_is_the_papers_sigmoid_gate() -> None:
    fusion = components.load("fusions", "gated_sum")(sizes=(4, 6), hidden_size=5)
    first, second = sides(4, 6)
    gates = fusion.gate(torch.cat([first, second], dim=-1))
    z = torch.sigmoid(gates[..., :5] - gates[..., 5:])
    expected = z * fusion.project[0](first) + (1 - z) * fusion.project[1](second)
    torch.testing.assert_close(fusion((first, second), MASK), expected)


@pytest.mark.parametrize(("hidden_size", "expected"), [(None, 4), (7, 7)])
def test_a_gated_sum_has_the_size_of_the_frame_unless_told(hidden_size: int | None, expected: int) -> None:
    fusion = components.load("fusions", "gated_sum")(sizes=(4, 6), hidden_size=hidden_size)
    assert fusion.output_size == fusion(sides(4, 6), MASK).shape[-1] == expected


def attended(attention: torch.nn.MultiheadAttention, queries: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Attention row by row and head by head over the tokens that are not padding (Vaswani et al., eq. 1)."""
    result = torch.zeros_like(queries)
    weights = attention.in_proj_weight.chunk(3)
    biases = attention.in_proj_bias.chunk(3)
    width = attention.head_dim
    for row, n_tokens in enumerate(MASK.sum(dim=1).tolist()):
        inputs = (queries[row], other[row, :n_tokens], other[row, :n_tokens])
        q, k, v = (x @ weight.T + bias for x, weight, bias in zip(inputs, weights, biases, strict=True))
        for start in range(0, attention.embed_dim, width):
            part = slice(start, start + width)
            scores = (q[:, part] @ k[:, part].T / width**0.5).exp()
            result[row, :, part] = scores / scores.sum(dim=1, keepdim=True) @ v[:, part]
    return result @ attention.out_proj.weight.T + attention.out_proj.bias


@pytest.mark.parametrize("sizes", [(4, 6), (4, 6, 2)])
@pytest.mark.parametrize("n_heads", [1, 2])
def test_cross_attention_equals_attention_written_by_hand_beside_the_frame(
    sizes: tuple[int, ...], n_heads: int
) -> None:
    fusion = components.load("fusions", "cross_attention")(sizes=sizes, hidden_size=8, n_heads=n_heads)
    for attention in fusion.attend:
        torch.nn.init.normal_(attention.in_proj_bias)  # torch starts them at zero, which would hide a wrong one
        torch.nn.init.normal_(attention.out_proj.bias)
    frame, *others = sides(*sizes)
    queries = fusion.project[0](frame)
    looked_up = [
        attended(attention, queries, project(other))
        for attention, project, other in zip(fusion.attend, fusion.project[1:], others, strict=True)
    ]
    torch.testing.assert_close(fusion([frame, *others], MASK), torch.cat([frame, *looked_up], dim=-1))
    assert fusion.output_size == sizes[0] + 8 * len(others)


def test_cross_attention_treats_a_row_of_padding_only_as_if_it_had_none() -> None:
    fusion = components.load("fusions", "cross_attention")(sizes=(4, 6), hidden_size=8, n_heads=2)
    mask = torch.tensor([[0, 0, 0], [1, 1, 0]])
    expected = fusion(sides(4, 6), torch.tensor([[1, 1, 1], [1, 1, 0]]))
    torch.testing.assert_close(fusion(sides(4, 6), mask), expected)


TOKENS = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6, [1] * 2 + [0] * 5])


def sides_of(sizes: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 7, size, generator=generator, requires_grad=True) for size in sizes]


every_fusion = pytest.mark.parametrize(
    ("name", "sizes"), [(name, sizes) for name in components.available("fusions") for sizes in ([12, 8], [8, 12, 8])]
)


@every_fusion
def test_a_fusion_gives_one_state_per_token_and_every_side_and_parameter_learns(name: str, sizes: list[int]) -> None:
    fusion = components.build("fusions", name, sizes=sizes)
    sides = sides_of(sizes)
    fused = fusion(sides, TOKENS)
    assert isinstance(fusion.output_size, int)
    assert fused.shape == (4, 7, fusion.output_size) and fused.dtype == torch.float32
    (fused**2).mean().backward()
    for tensor in (*sides, *fusion.parameters()):
        assert torch.isfinite(tensor.grad).all() and (tensor.grad != 0).any()


@every_fusion
def test_a_fusion_has_the_same_weights_for_the_same_seed_and_loads_what_it_saved(name: str, sizes: list[int]) -> None:
    def build(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return components.build("fusions", name, sizes=sizes).eval()

    fusion, same, other = build(1), build(1), build(2)
    expected = fusion(sides_of(sizes), TOKENS)
    assert torch.equal(same(sides_of(sizes), TOKENS), expected)
    other.load_state_dict(fusion.state_dict())
    assert torch.equal(other(sides_of(sizes), TOKENS), expected)


@every_fusion
def test_a_fusion_keeps_masked_positions_away_from_the_others(name: str, sizes: list[int]) -> None:
    fusion = components.build("fusions", name, sizes=sizes).eval()
    sides, tokens = sides_of(sizes), TOKENS == 1
    fused = fusion(sides, TOKENS)
    changed = [torch.where(tokens.unsqueeze(-1), side, 99.0) for side in sides]
    torch.testing.assert_close(fusion(changed, TOKENS)[tokens], fused[tokens])
    torch.testing.assert_close(fusion([side[1:2, :4] for side in sides], TOKENS[1:2, :4]), fused[1:2, :4])


@every_fusion
def test_a_fusion_and_its_gradients_stay_finite_on_padding_only(name: str, sizes: list[int]) -> None:
    fusion = components.build("fusions", name, sizes=sizes)
    sides = sides_of(sizes)
    fused = fusion(sides, torch.zeros_like(TOKENS))
    fused.sum().backward()
    assert torch.isfinite(fused).all()
    assert all(torch.isfinite(tensor.grad).all() for tensor in (*sides, *fusion.parameters()))


@every_fusion
def test_a_fusion_takes_half_precision(name: str, sizes: list[int]) -> None:
    fusion = components.build("fusions", name, sizes=sizes).to(torch.bfloat16)
    fused = fusion([side.to(torch.bfloat16) for side in sides_of(sizes)], TOKENS)
    assert fused.dtype == torch.bfloat16 and torch.isfinite(fused).all()
