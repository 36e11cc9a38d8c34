"""Encoders, poolings and heads put together; the groups in which their parameters learn."""

import subprocess
import sys

import pytest
import torch

from pipeline.errors.exceptions import ParamsError
from pipeline.models.batching import encode_rows
from pipeline.models.classifier import build_classifier, load_classifier, save_classifier
from pipeline.params.encoders import Training
from pipeline.training.parameter_groups import parameter_groups
from tests.small import TEXTS, encoder, frame

ARCHITECTURES = ["bert", "roberta", "electra", "albert", "deberta-v2", "distilbert", "roformer", "bart", "t5", "gpt2"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_family_saves_and_loads_to_the_same_logits(architecture: str, tmp_path) -> None:
    settings = encoder(architecture=architecture)
    parts = settings.source.build(texts=TEXTS, max_length=16, seed=0)
    model = build_classifier(parts, pooling=settings.pooling, head=settings.head, n_outputs=3, seed=1)
    batch = encode_rows(parts.tokenizer, frame(), settings).batch(torch.arange(6).numpy())
    logits = model(batch)
    assert logits.shape == (6, 3)
    logits.sum().backward()
    save_classifier(model, parts.tokenizer, tmp_path, source="from_config")
    loaded, tokenizer = load_classifier(tmp_path)
    assert torch.equal(loaded(batch), model.eval()(batch))
    assert tokenizer(TEXTS[0])["input_ids"] == parts.tokenizer(TEXTS[0])["input_ids"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_trainable_parameter_is_in_one_group_and_norms_and_biases_do_not_decay(architecture: str) -> None:
    settings = encoder(architecture=architecture)
    parts = settings.source.build(texts=TEXTS, max_length=16, seed=0)
    model = build_classifier(parts, pooling=settings.pooling, head=settings.head, n_outputs=3, seed=1)
    rates = Training(learning_rate=1.0, head_learning_rate=5.0, layer_decay=0.5, weight_decay=0.1)
    groups = parameter_groups(model.backbone, model.readout, rates)
    assert sum(len(group["params"]) for group in groups) == sum(p.requires_grad for p in model.parameters())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in groups:
        for parameter in group["params"]:
            decays = parameter.ndim > 1 and "bias" not in names[id(parameter)]
            assert decays == (group["weight_decay"] > 0), names[id(parameter)]
    rates = {group["name"].split(",")[0]: group["lr"] for group in groups}
    top = max(int(name.split()[1]) for name in rates) - 1
    assert rates[f"depth {top + 1}"] == 5.0
    assert [rates[f"depth {depth}"] for depth in range(top + 1)] == [0.5 ** (top - depth) for depth in range(top + 1)]


VOCABULARY_DIGEST = """
from hashlib import sha256
from tests.small import TEXTS, encoder
parts = encoder(tokenizer="{kind}").source.build(texts=TEXTS, max_length=16, seed=0)
print(sha256(parts.tokenizer.backend_tokenizer.to_str().encode()).hexdigest())
"""


@pytest.mark.parametrize("kind", ["bpe", pytest.param("byte_bpe", marks=pytest.mark.slow)])
def test_the_tokenizer_is_the_same_in_every_process(kind: str) -> None:
    command = [sys.executable, "-c", VOCABULARY_DIGEST.format(kind=kind)]
    assert len({subprocess.run(command, capture_output=True, check=True).stdout for _ in range(3)}) == 1


def test_the_initial_weights_are_a_function_of_the_seed() -> None:
    first, second, other = (encoder().source.build(texts=TEXTS, max_length=16, seed=s).model for s in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_a_family_that_does_not_exist_is_named() -> None:
    with pytest.raises(ParamsError, match="cannot build 'bertt'"):
        encoder(architecture="bertt").source.build(texts=TEXTS, max_length=16, seed=0)


def test_a_pretrained_folder_loads_and_its_positions_limit_the_length(tmp_path) -> None:
    from pipeline.params.encoders import Encoder

    parts = encoder().source.build(texts=TEXTS, max_length=16, seed=0)
    parts.model.half().save_pretrained(tmp_path)
    parts.tokenizer.save_pretrained(tmp_path)
    source = Encoder.model_validate({"source": {"name": "pretrained", "path": str(tmp_path)}}).source
    loaded = source.build(texts=[], max_length=16, seed=0)
    assert next(loaded.model.parameters()).dtype == torch.float32
    with pytest.raises(ParamsError, match="must be at most 24"):
        source.build(texts=[], max_length=500, seed=0)


def test_a_checkpoint_without_safetensors_is_refused(tmp_path) -> None:
    from pipeline.params.encoders import Encoder

    parts = encoder().source.build(texts=TEXTS, max_length=16, seed=0)
    parts.model.config.save_pretrained(tmp_path)
    parts.tokenizer.save_pretrained(tmp_path)
    torch.save(parts.model.state_dict(), tmp_path / "pytorch_model.bin")
    source = Encoder.model_validate({"source": {"name": "pretrained", "path": str(tmp_path)}}).source
    with pytest.raises(ParamsError, match="must hold model.safetensors"):
        source.build(texts=[], max_length=16, seed=0)
