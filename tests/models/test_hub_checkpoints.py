"""Checkpoints that lack weights: refused where the states need them, always the same where nothing reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors.exceptions import ParamsError
from pipeline.models.encoders import from_config, pretrained

Tensors = dict[str, torch.Tensor]


def checkpoint(folder: Path, change: Callable[[Tensors], Tensors], architecture: str = "bert", **options: Any) -> Any:
    """Lay down a checkpoint whose weights were changed; return the model as it was."""
    options = {"vocab_size": 60, "hidden_size": 8, "n_layers": 1, "n_heads": 1, **options}
    parts = from_config.build(texts=["a b c"] * 9, max_length=8, seed=0, architecture=architecture, **options)
    for part in (parts.model, parts.tokenizer):
        part.save_pretrained(folder)
    weights = folder / "model.safetensors"
    save_file(change(load_file(weights)), weights, metadata={"format": "pt"})
    return parts.model


def load(folder: Path) -> Any:
    return pretrained.build(max_length=8, path=str(folder)).model


def without(text: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if text not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: {f"foreign.{name}": tensor for name, tensor in tensors.items()}, r"none for \d\d of \d\d"),
        (without("attention.self.query"), r"such as \['encoder.layer.0.attention.self.query.bias'"),
        (without("word_embeddings"), r"such as \['embeddings.word_embeddings.weight'\]"),
        (lambda tensors: {name: tensor[:5] for name, tensor in tensors.items()}, "cannot load .*"),
    ],
    ids=["foreign prefix", "a part of a layer", "embeddings", "other shapes"],
)
def test_P6_a_checkpoint_that_lacks_weights_of_its_encoder_is_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    """Weights that the checkpoint does not hold would be random, in each process others: the encoder needs all of them."""
    checkpoint(tmp_path, change)
    with pytest.raises(ParamsError, match=message) as caught:
        load(tmp_path)
    assert caught.value.code == "E204"


@pytest.mark.parametrize(
    ("architecture", "lacking"), [("bert", "pooler"), ("roberta", "pooler"), ("bart", "decoder.layers")]
)
def test_P6_I15_weights_that_nothing_reads_are_the_same_in_every_process(
    tmp_path: Path, architecture: str, lacking: str
) -> None:
    """A checkpoint without a pooler, as every pure masked language model, gives the same bytes wherever it is loaded."""
    options = {"config": {"decoder_layers": 1, "decoder_attention_heads": 1, "decoder_ffn_dim": 8}}
    whole = checkpoint(tmp_path, without(lacking), architecture, **(options if architecture == "bart" else {}))
    torch.manual_seed(1)
    first, state = load(tmp_path).state_dict(), torch.random.get_rng_state()
    torch.manual_seed(2)
    second = load(tmp_path).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    kept = [name for name in first if lacking not in name]
    assert kept != list(first) and all(torch.equal(first[name], whole.state_dict()[name]) for name in kept)
    assert torch.equal(state, torch.manual_seed(1).get_state()), "the program's own generator is left alone"


def test_P6_a_tokenizer_with_more_tokens_than_the_model_has_embeddings_is_refused(tmp_path: Path) -> None:
    """A token beyond the embedding would end training in the middle, with the first text that has it."""
    checkpoint(tmp_path, lambda tensors: tensors)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_tokens(["later"] + [f"more{n}" for n in range(60)])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(
        ParamsError, match=r"an embedding for each token of its tokenizer, got \d+ embeddings, and \d+ tokens"
    ):
        load(tmp_path)
