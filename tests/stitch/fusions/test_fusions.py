"""Fusions against what they are in the papers, written out by hand."""

import pytest
import torch

from pipeline import components
from pipeline.errors.exceptions import ParamsError

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
    found = torch.zeros_like(queries)
    weights = attention.in_proj_weight.chunk(3)
    biases = attention.in_proj_bias.chunk(3)
    width = attention.head_dim
    for row, n_tokens in enumerate(MASK.sum(dim=1).tolist()):
        inputs = (queries[row], other[row, :n_tokens], other[row, :n_tokens])
        q, k, v = (x @ weight.T + bias for x, weight, bias in zip(inputs, weights, biases, strict=True))
        for start in range(0, attention.embed_dim, width):
            part = slice(start, start + width)
            scores = (q[:, part] @ k[:, part].T / width**0.5).exp()
            found[row, :, part] = scores / scores.sum(dim=1, keepdim=True) @ v[:, part]
    return found @ attention.out_proj.weight.T + attention.out_proj.bias


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
    found = [
        attended(attention, queries, project(other))
        for attention, project, other in zip(fusion.attend, fusion.project[1:], others, strict=True)
    ]
    torch.testing.assert_close(fusion([frame, *others], MASK), torch.cat([frame, *found], dim=-1))
    assert fusion.output_size == sizes[0] + 8 * len(others)


def test_cross_attention_treats_a_row_of_padding_only_as_if_it_had_none() -> None:
    fusion = components.load("fusions", "cross_attention")(sizes=(4, 6), hidden_size=8, n_heads=2)
    mask = torch.tensor([[0, 0, 0], [1, 1, 0]])
    expected = fusion(sides(4, 6), torch.tensor([[1, 1, 1], [1, 1, 0]]))
    torch.testing.assert_close(fusion(sides(4, 6), mask), expected)


@pytest.mark.parametrize(("hidden_size", "n_heads"), [(10, 4), (8, 0)])
def test_attention_heads_that_do_not_divide_the_width_are_refused(hidden_size: int, n_heads: int) -> None:
    message = rf"hidden_size must be a multiple of n_heads \({n_heads}\), got {hidden_size}"
    with pytest.raises(ParamsError, match=message):
        components.load("fusions", "cross_attention")(sizes=(4, 6), hidden_size=hidden_size, n_heads=n_heads)
