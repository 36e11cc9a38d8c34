"""What every head keeps; heads made of other parts equal those put together; recurrent ones keep their names and numbers."""

import pytest
import torch
from torch import nn

from pipeline import components

SIZE, N_OUTPUTS = 6, 3
every = pytest.mark.parametrize("name", components.available("heads"))


def build(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return components.build("heads", name, options, input_size=SIZE, n_outputs=N_OUTPUTS).eval()


@pytest.fixture
def states() -> torch.Tensor:
    return torch.randn(3, 5, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.tensor([[1] * 5, [1] * 2 + [0] * 3, [1] * 4 + [0]])


def one_by_one(layer: nn.Module, states: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """The outputs (tokens, 2F) of each row, read alone and without its padding."""
    return [layer(row[: int(n)])[0] for row, n in zip(states, mask.sum(dim=1), strict=True)]


@pytest.mark.parametrize(("name", "cell"), [("bilstm", nn.LSTM), ("bigru", nn.GRU)])
def test_a_recurrent_head_is_the_mean_and_maximum_of_its_cells_outputs(
    name: str, cell: type[nn.RNNBase], states: torch.Tensor, mask: torch.Tensor
) -> None:
    head = build(name, hidden_size=4)
    assert isinstance(head.lstm, cell) and head.lstm.hidden_size == 4
    outputs = one_by_one(head.lstm, states, mask)
    reduced = torch.stack([torch.cat([row.mean(dim=0), row.amax(dim=0)]) for row in outputs])
    torch.testing.assert_close(head(states, mask), head.classify(reduced))


@pytest.mark.parametrize(("name", "cell"), [("bilstm", nn.LSTM), ("bigru", nn.GRU)])
def test_a_recurrent_heads_weights_keep_their_names_and_the_order_of_their_making(
    name: str, cell: type[nn.RNNBase]
) -> None:
    torch.manual_seed(0)
    layer = cell(SIZE, 4, batch_first=True, bidirectional=True)
    classify = nn.Linear(16, N_OUTPUTS)
    expected = {f"lstm.{key}": tensor for key, tensor in layer.state_dict().items()}
    expected |= {f"classify.1.{key}": tensor for key, tensor in classify.state_dict().items()}
    weights = build(name, hidden_size=4).state_dict()
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


def test_lstm_cnn_is_the_text_cnn_over_the_outputs_of_an_lstm(states: torch.Tensor, mask: torch.Tensor) -> None:
    head = build("lstm_cnn", hidden_size=4, widths=[2, 3], n_filters=5)
    cnn = components.build(
        "heads", "text_cnn", {"widths": [2, 3], "n_filters": 5}, input_size=8, n_outputs=N_OUTPUTS
    ).eval()
    cnn.load_state_dict(head.cnn.state_dict())
    outputs = nn.utils.rnn.pad_sequence(one_by_one(head.lstm, states, mask), batch_first=True)
    torch.testing.assert_close(head(states, mask), cnn(outputs, mask))


def test_the_attention_head_is_attention_pooling_and_the_linear_head(states: torch.Tensor, mask: torch.Tensor) -> None:
    head = build("attention", attention_size=4)
    pooling = components.build("poolings", "attention", {"attention_size": 4}, hidden_size=SIZE)
    pooling.load_state_dict(head.pooling.state_dict())
    torch.testing.assert_close(head(states, mask), head.classify(pooling((states,), mask)))


def test_the_transformer_head_is_torchs_layer_over_a_rows_own_tokens(states: torch.Tensor, mask: torch.Tensor) -> None:
    head = build("transformer", n_heads=2, width_per_head=4)
    rows = [
        head.norm(head.layer(head.project(row[None, : int(n)])))[0] for row, n in zip(states, mask.sum(1), strict=True)
    ]
    torch.testing.assert_close(head(states, mask), head.classify(torch.stack([row.mean(dim=0) for row in rows])))


def test_the_pyramid_halves_its_positions_and_adds_what_a_block_got(states: torch.Tensor) -> None:
    head = build("dpcnn", n_filters=4, n_blocks=2)
    seen: list[tuple[int, ...]] = []
    for block in head.blocks:
        for convolution in block:
            nn.init.zeros_(convolution.weight), nn.init.zeros_(convolution.bias)
        block[0].register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    logits = head(states, torch.ones(3, 5))
    assert seen == [(3, 4, 5), (3, 4, 3), (3, 4, 2)]
    torch.testing.assert_close(logits, head.classify(head.project(states).amax(dim=1)))


def test_half_of_the_positions_keep_the_largest_of_three() -> None:
    from pipeline.models.heads.dpcnn import halved

    channels = torch.tensor([[[-3.0, -1.0, -2.0, 5.0, -4.0, 9.0]]])
    mask = torch.tensor([[[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]]])
    halves, left = halved(channels, mask)
    assert halves.tolist() == [[[-1.0, 5.0, 5.0]]] and left.tolist() == [[[1.0, 1.0, 1.0]]]


MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6, [1] * 2 + [0] * 5])


def token_states() -> torch.Tensor:
    return torch.randn(4, 7, SIZE, generator=torch.Generator().manual_seed(0), requires_grad=True)


def head_inputs(name: str) -> tuple[torch.Tensor, ...]:
    states = token_states()
    return (states.mean(dim=1),) if components.constant("heads", name, "READS") == "vector" else (states, MASK)


@every
def test_a_head_gives_logits_finite_gradients_and_the_same_result_for_the_same_seed(name: str) -> None:
    assert components.constant("heads", name, "READS") in ("vector", "tokens")
    results = []
    for _ in range(2):
        torch.manual_seed(1)
        head = components.build("heads", name, input_size=SIZE, n_outputs=N_OUTPUTS)
        logits = head(*head_inputs(name))
        logits.sum().backward()
        results.append(logits)
    assert results[0].shape == (4, N_OUTPUTS)
    assert torch.equal(*results)
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)
    other = components.build("heads", name, input_size=SIZE, n_outputs=N_OUTPUTS)
    other.load_state_dict(head.state_dict())
    inputs = head_inputs(name)
    assert torch.equal(other.eval()(*inputs), head.eval()(*inputs))


@pytest.mark.parametrize("name", components.having("heads", "READS", "tokens"))
def test_a_token_head_ignores_what_stands_at_masked_positions(name: str) -> None:
    head = components.build("heads", name, input_size=SIZE, n_outputs=N_OUTPUTS).eval()
    states = token_states().detach()
    changed = torch.where(MASK.unsqueeze(-1) == 1, states, 99.0)
    torch.testing.assert_close(head(changed, MASK), head(states, MASK))
    torch.testing.assert_close(head(states[1:2, :4], MASK[1:2, :4]), head(states, MASK)[1:2])
    assert torch.isfinite(head(states, torch.zeros_like(MASK))).all()
