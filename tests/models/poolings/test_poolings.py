"""What every pooling keeps: finite vectors of a row's own tokens, whatever padding or other rows stand beside them."""

import pytest
import torch

from pipeline import components

SIZE, N_LAYERS = 12, 3
every = pytest.mark.parametrize("name", components.available("poolings"))


def hidden_states(seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(4, 7, SIZE, generator=generator, requires_grad=True) for _ in range(N_LAYERS + 1))


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6, [1] * 2 + [0] * 5])


@every
def test_a_pooling_gives_one_finite_vector_and_ignores_padding(name: str, mask: torch.Tensor) -> None:
    pooling = components.build("poolings", name, hidden_size=SIZE, n_layers=N_LAYERS)
    states = hidden_states()
    pooled = pooling(states, mask)
    assert pooled.shape == (4, getattr(pooling, "output_size", SIZE)) and pooled.dtype == torch.float32
    changed = tuple(torch.where(mask.unsqueeze(-1) == 1, state, 99.0) for state in states)
    torch.testing.assert_close(pooling(changed, mask), pooled)
    pooled.sum().backward()
    used = [state.grad for state in states if state.grad is not None]
    assert used and all(torch.isfinite(grad).all() for grad in used)


@every
def test_a_pooling_stays_finite_on_padding_only(name: str, mask: torch.Tensor) -> None:
    pooling = components.build("poolings", name, hidden_size=SIZE, n_layers=N_LAYERS)
    assert torch.isfinite(pooling(hidden_states(), torch.zeros_like(mask))).all()


@every
def test_a_pooling_gives_a_row_the_same_vector_alone_as_in_a_batch(name: str, mask: torch.Tensor) -> None:
    pooling = components.build("poolings", name, hidden_size=SIZE, n_layers=N_LAYERS)
    states = hidden_states()
    alone = pooling(tuple(state[1:2, :4] for state in states), mask[1:2, :4])
    torch.testing.assert_close(alone, pooling(states, mask)[1:2])


def test_three_views_stand_side_by_side(mask: torch.Tensor) -> None:
    states = hidden_states()
    views = [components.build("poolings", name, hidden_size=SIZE)(states, mask) for name in ("cls", "mean", "max")]
    pooled = components.build("poolings", "cls_mean_max", hidden_size=SIZE)(states, mask)
    assert torch.equal(pooled, torch.cat(views, dim=1))


def test_the_generalised_mean_lies_between_mean_and_maximum_and_learns_its_power(mask: torch.Tensor) -> None:
    states = (torch.rand(4, 7, SIZE, generator=torch.Generator().manual_seed(0)) + 0.1,)
    mean, largest = (components.build("poolings", name)(states, mask) for name in ("mean", "max"))
    one, three, ten = (components.build("poolings", "gem", {"power": power}) for power in (1.0, 3.0, 10.0))
    torch.testing.assert_close(one(states, mask), mean)
    by_hand = (states[0][1, :4] ** 3).mean(dim=0) ** (1 / 3)
    torch.testing.assert_close(three(states, mask)[1], by_hand)
    assert bool((mean <= three(states, mask) + 1e-6).all() and (three(states, mask) <= ten(states, mask) + 1e-6).all())
    assert bool((ten(states, mask) <= largest + 1e-6).all())
    three(states, mask).sum().backward()
    assert three.power.grad is not None and float(three.power.grad) > 0


def test_the_last_token_is_the_last_that_is_no_padding(mask: torch.Tensor) -> None:
    states = hidden_states()
    pooled = components.build("poolings", "last_token")(states, mask)
    for row, n_tokens in enumerate([7, 4, 1, 2]):
        assert torch.equal(pooled[row], states[-1][row, n_tokens - 1])
