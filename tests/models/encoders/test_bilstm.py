"""LSTMs in both directions, neither of which sees what the other has read: states, losses, sizes."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from pipeline.contracts import EncoderParts
from pipeline.models.batching import encode_rows
from pipeline.models.classifier import build_classifier
from pipeline.models.language_lstm import BidirectionalLM
from pipeline.models.token_states import read_both_ways
from pipeline.params.encoders import Encoder, Training
from pipeline.params.fields import Component
from pipeline.training.parameter_groups import parameter_groups
from tests.small import TEXTS, frame

WIDTH = 8


def settings_of(**source: Any) -> Encoder:
    small = {"name": "bilstm", "vocab_size": 200, "hidden_size": 2 * WIDTH, **source}
    return Encoder.model_validate({"source": small, "max_length": 16, "pooling": "layer_mix"})


@cache
def parts_of(**source: Any) -> EncoderParts:
    parts: EncoderParts = settings_of(**source).source.build(texts=TEXTS, max_length=16, seed=0)
    parts.model.eval()
    return parts


def batch_of(rows: list[int], **source: Any) -> dict[str, torch.Tensor]:
    table = frame().assign(text=[*frame()["text"][1:], "cat"])
    return encode_rows(parts_of(**source).tokenizer, table, settings_of(**source)).batch(np.array(rows))


@pytest.mark.parametrize("place", [1, 4])
@pytest.mark.parametrize("cell_size", [None, 12])
def test_neither_direction_sees_what_it_has_not_read(place: int, cell_size: int | None) -> None:
    model, batch = parts_of(cell_size=cell_size).model, batch_of([0, 23], cell_size=cell_size)
    assert batch["attention_mask"].sum(dim=1).tolist() != [batch["input_ids"].shape[1]] * 2
    changed = {**batch, "input_ids": batch["input_ids"].clone()}
    changed["input_ids"][0, place] = (changed["input_ids"][0, place] + 1) % 50
    states, others = (
        model(**{name: each[name] for name in ("input_ids", "attention_mask")}, output_hidden_states=True).hidden_states
        for each in (batch, changed)
    )
    for before, after in zip(states, others, strict=True):
        differs = (before != after).any(dim=-1) if before is states[0] else None
        ahead, back = ((a != b).any(dim=-1) for a, b in zip(before.chunk(2, -1), after.chunk(2, -1), strict=True))
        if differs is not None:
            assert differs[0].nonzero().flatten().tolist() == [place]
        else:
            assert not ahead[0, :place].any() and ahead[0, place:].all()
            assert not back[0, place + 1 :].any() and back[0, : place + 1].all()
        assert not ahead[1].any() and not back[1].any()


def test_a_layer_gives_what_torchs_bidirectional_one_does_on_packed_rows() -> None:
    parts, batch = parts_of(n_layers=1), batch_of([0, 23, 5], n_layers=1)
    [layer] = parts.model.layers
    reference = torch.nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for name, weight in layer.forwards.named_parameters():
            getattr(reference, name).copy_(weight)
            getattr(reference, f"{name}_reverse").copy_(getattr(layer.backwards, name))
    expected = read_both_ways(reference, parts.model.embeddings(batch["input_ids"]), batch["attention_mask"])
    states = parts.model(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    torch.testing.assert_close(states, expected)
    assert not states[batch["attention_mask"] == 0].any()


def loss_sums(model: BidirectionalLM, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    targets = model.targets(batch)
    return {name: cross_entropy(logits, targets[name], reduction="sum") for name, logits in model(batch).items()}


@pytest.mark.parametrize("tied", [True, False])
def test_each_direction_tells_the_token_that_it_reads_next(tied: bool) -> None:
    """The losses are those of rows taken one by one, token by token; padding is none."""
    torch.manual_seed(1)
    parts, batch = parts_of(), batch_of([0, 23, 5])
    model = BidirectionalLM(parts.model, tied=tied)
    by_hand = {"forwards": 0.0, "backwards": 0.0}
    table = parts.model.embeddings.weight if tied else model.weight
    for row, n_tokens in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
        ids = batch["input_ids"][row : row + 1, :n_tokens]
        states = parts.model(ids, torch.ones_like(ids)).last_hidden_state[0]
        logits = states[:, :WIDTH] @ table.T, states[:, WIDTH:] @ table.T
        by_hand["forwards"] += sum(float(cross_entropy(logits[0][t], ids[0, t + 1])) for t in range(n_tokens - 1))
        by_hand["backwards"] += sum(float(cross_entropy(logits[1][t], ids[0, t - 1])) for t in range(1, n_tokens))
    losses = loss_sums(model, batch)
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(by_hand, rel=1e-5)
    assert {len(ids) for ids in model.targets(batch).values()} == {int(batch["attention_mask"].sum()) - 3}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_it_learns_the_language_of_its_texts_from_both_sides() -> None:
    parts = settings_of(dropout=0.0).source.build(texts=TEXTS, max_length=16, seed=0)
    model, batch = BidirectionalLM(parts.model), batch_of(list(range(12)))
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=2e-2), []
    for _ in range(30):
        optimizer.zero_grad()
        of_step = loss_sums(model, batch)
        sum(of_step.values()).backward()
        optimizer.step()
        losses.append({name: loss.item() for name, loss in of_step.items()})
    assert all(losses[-1][name] < 0.7 * losses[0][name] for name in losses[0])


@pytest.mark.parametrize("source", [{}, {"cell_size": 12, "n_layers": 3, "tokenizer": "byte_bpe"}])
def test_sizes_are_those_of_the_model(source: dict[str, Any]) -> None:
    settings, model = settings_of(**source), parts_of(**source).model
    vocabulary = {"vocab_size": model.config.vocab_size}
    component = Component(kind="encoders", name="bilstm", options={**settings.source.options, **vocabulary})
    assert component.call("n_parameters", max_length=16) == sum(parameter.numel() for parameter in model.parameters())
    assert component.call("state_shape") == (model.config.num_hidden_layers, model.config.hidden_size)


def test_layers_are_mixed_and_learn_each_at_its_rate() -> None:
    settings, parts = settings_of(), parts_of()
    model = build_classifier(parts, pooling=settings.pooling, head=settings.head, n_outputs=2, seed=1)
    model(batch_of([0, 1])).sum().backward()
    assert model.readout.pooling.weights.grad.abs().min() > 0 and len(model.readout.pooling.weights) == 3
    rates = Training(learning_rate=1.0, head_learning_rate=5.0, layer_decay=0.5)
    groups = parameter_groups(parts.model, torch.nn.Linear(2, 2), rates)
    assert {group["depth"]: group["lr"] for group in groups} == {0: 0.25, 1: 0.5, 2: 1.0, 3: 5.0}


def test_states_of_an_odd_width_are_refused() -> None:
    [problem] = settings_of(hidden_size=15).source.call("check", max_length=16)
    assert problem[:2] == (("source", "hidden_size"), "must be even, as there are two directions, got 15. Add one.")
