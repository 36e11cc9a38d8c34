"""Models that read onwards as classifiers: padding and neighbours say nothing, nothing is cached, shards are one whole."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from pipeline.base_models.fold_training import build_trainee
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import weights_digest
from pipeline.models.batching import encode
from pipeline.models.classifier import TextClassifier, special_ids
from pipeline.models.encoders import pretrained
from pipeline.stitch.alignment import align
from tests.small import DECODERS, TEXTS, adapted, checkpoint, encoder, frame

ALIKE = partial(torch.testing.assert_close, rtol=0, atol=4e-6)


def classifier_of(architecture: str, **training: Any) -> tuple[TextClassifier, dict[str, torch.Tensor]]:
    """Return a classifier of a family that is built from configuration, and a batch of rows of 3 to 16 tokens."""
    pooling = "mean" if architecture == "modernbert" else "last_token"
    settings = encoder({"pooling": pooling, **training}, architecture=architecture, n_layers=2, hidden_size=32)
    rows = frame(8).assign(text=[text[: 4 + 9 * n] for n, text in enumerate(TEXTS[:8])])
    trainee = build_trainee(rows=rows, n_outputs=2, settings=settings, scorer=None, seed=0)
    batch = trainee.objective.batch(np.arange(8), 0)
    lengths = batch["attention_mask"].sum(dim=1)
    assert lengths.min() < 8 < lengths.max()
    return trainee.model.eval(), {name: batch[name] for name in ("input_ids", "attention_mask")}  # type: ignore[return-value]


@pytest.mark.parametrize("architecture", [*DECODERS, "modernbert"])
@torch.no_grad()
def test_a_row_gets_the_same_whatever_stands_beside_it_and_on_whichever_side_it_is_padded(architecture: str) -> None:
    model, batch = classifier_of(architecture)
    logits = model(batch)
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    alone = [
        model({name: tensor[n : n + 1, :length] for name, tensor in batch.items()}) for n, length in enumerate(lengths)
    ]
    ALIKE(logits, torch.cat(alone))
    left = {
        name: torch.stack([row.roll(-n) for row, n in zip(tensor, lengths, strict=True)])
        for name, tensor in batch.items()
    }
    assert left["attention_mask"][:, -1].all() and not left["attention_mask"][:, 0].all()
    ALIKE(model(left), logits)
    assert (logits - logits.mean(dim=0)).abs().max() > 1e-2


def test_no_key_or_value_is_kept_for_a_next_token(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = classifier_of("qwen3")
    given: list[Any] = []
    model.backbone.register_forward_hook(lambda module, inputs, output: given.append(output.past_key_values))
    model(batch)
    assert model.backbone.config.use_cache and given == [None]


def test_a_tokenizer_without_a_padding_token_pads_with_its_end(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    tokenizer.save_pretrained(tmp_path)
    loaded = pretrained.build(max_length=16, path=str(tmp_path)).tokenizer
    assert (
        loaded.pad_token_id
        == loaded.eos_token_id
        == encode(loaded, ["a"], None, max_length=9, truncation="head").pad_token_id
    )


def test_readouts_learn_in_float32_over_a_base_in_bf16(tmp_path: Path) -> None:
    trainee = build_trainee(
        rows=frame(8), n_outputs=2, settings=adapted(checkpoint(tmp_path), weights="bf16"), scorer=None, seed=0
    )
    batch, model = trainee.objective.batch(np.arange(8), 0), trainee.model
    assert {state.dtype for state in model.hidden_states(batch)} == {torch.float32}  # type: ignore[operator]
    trainee.objective.loss_sums(model, batch, 0.0)["loss"].backward()
    learning = [parameter for group in trainee.parameter_groups for parameter in group["params"]]
    assert {parameter.grad.dtype for parameter in learning if parameter.grad is not None} == {torch.float32}


def test_a_checkpoint_in_shards_is_loaded_whole_and_known_by_all_of_them(tmp_path: Path) -> None:
    whole = checkpoint(tmp_path / "whole")
    parts = pretrained.build(max_length=16, path=str(whole))
    parts.model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    parts.tokenizer.save_pretrained(tmp_path / "shards")
    shards = sorted((tmp_path / "shards").glob("model-*.safetensors"))
    assert len(shards) > 2
    options = {"path": str(tmp_path / "shards")}
    loaded = pretrained.build(max_length=16, **options)
    states = loaded.model.state_dict()
    assert all(torch.equal(tensor, states[name]) for name, tensor in parts.model.state_dict().items())
    every = dict.fromkeys(("hub_id", "package", "revision")) | options
    assert pretrained.n_parameters(options=every) == sum(tensor.numel() for tensor in loaded.model.parameters())
    known = weights_digest(tmp_path / "shards")
    content = shards[-1].read_bytes()
    shards[-1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert weights_digest(tmp_path / "shards") != known
    shards[-1].unlink()
    with pytest.raises(ParamsError, match=f"{shards[-1].name} is missing"):
        weights_digest(tmp_path / "shards")
    with pytest.raises(ParamsError, match="cannot load"):
        pretrained.build(max_length=16, **options)


@pytest.mark.parametrize("family", ["Qwen2Tokenizer", "LlamaTokenizer", "GemmaTokenizer"])
def test_tokens_of_decoders_say_where_they_stand(family: str) -> None:
    tokenizer = getattr(transformers, family)().train_new_from_iterator(TEXTS, 300)
    texts = TEXTS[:4]
    cut: dict[str, Any] = {"max_length": 40, "truncation": "head"}
    encoded = encode(tokenizer, texts, None, **cut)
    assert encoded.spans is not None
    for row, text in enumerate(texts):
        spans = encoded.spans[encoded.starts[row] : encoded.starts[row + 1]]
        assert (np.diff(spans[:, 0]) >= 0).all(), "in the order of the text"
        covered = {place - 1 for begin, end in spans for place in range(begin, end)}
        assert covered >= {place for place, character in enumerate(text) if not character.isspace()}
    words = encoder().source.build(texts=TEXTS, max_length=16, seed=0).tokenizer
    frame_of = encode(words, texts, None, **cut)
    stands = ~np.isin(frame_of.input_ids, special_ids(words))
    assert (np.diff(align(frame_of, encoded).indptr) > 0)[stands].all(), "each word finds tokens of the decoder"
