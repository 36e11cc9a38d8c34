"""Encoders, poolings and heads put together; the groups in which their parameters learn."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from pipeline.errors.exceptions import ParamsError
from pipeline.models.batching import encode_rows
from pipeline.models.classifier import build_classifier, encoder_half, load_classifier, save_classifier
from pipeline.params.encoders import Training
from pipeline.training.parameter_groups import layers_of, parameter_groups
from tests.small import TEXTS, encoder, frame

ARCHITECTURES = ["bert", "roberta", "electra", "albert", "deberta-v2", "distilbert", "roformer", "bart", "t5", "gpt2"]


def test_what_was_saved_loads_to_the_same_logits_and_tokens(tmp_path) -> None:
    settings = encoder()
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


# Depth 0: embeddings and positions that layers share; 1 to 3: the layers, with what stands beside one; top: what follows.
DEEPER: dict[str, dict[str, Any]] = {
    "deberta-v2": {
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm",
        "conv_kernel_size": 3, "conv_act": "gelu", "position_biased_input": False,
    },
    "electra": {"embedding_size": 8}, "albert": {"embedding_size": 8},
}  # fmt: skip
POOLER = {"pooler.dense": 3}
BERT = {"embeddings": 0, "encoder.layer.0": 1, "encoder.layer.1": 2, "encoder.layer.2": 3}
DEPTHS: dict[str, dict[str, int]] = {
    "bert": BERT | POOLER,
    "roberta": BERT | POOLER,
    "ernie": BERT | POOLER,
    "electra": BERT | {"embeddings_project": 0},
    "deberta-v2": BERT | {"encoder.rel_embeddings": 0, "encoder.LayerNorm": 0, "encoder.conv": 1},
    "mpnet": BERT | POOLER | {"encoder.relative_attention_bias": 0},
    "albert": {
        "embeddings": 0,
        "encoder.embedding_hidden_mapping_in": 0,
        "encoder.albert_layer_groups.0": 1,
        "pooler": 1,
    },
    "distilbert": {"embeddings": 0} | {f"transformer.layer.{n}": n + 1 for n in range(3)},
    "xlnet": {"mask_emb": 0, "word_embedding": 0} | {f"layer.{n}": n + 1 for n in range(3)},
    "modernbert": {"embeddings": 0, "final_norm": 3} | {f"layers.{n}": n + 1 for n in range(3)},
    "t5": {"embed_tokens": 0, "final_layer_norm": 3} | {f"block.{n}": n + 1 for n in range(3)},
    "bart": {"embed_tokens": 0, "embed_positions": 0, "layernorm_embedding": 0}
    | {f"layers.{n}": n + 1 for n in range(3)},
}


@pytest.mark.parametrize("architecture", DEPTHS)
def test_every_layer_of_every_family_learns_at_its_own_rate(architecture: str) -> None:
    settings = encoder(architecture=architecture, n_layers=3, config=DEEPER.get(architecture, {}))
    backbone = encoder_half(settings.source.build(texts=TEXTS, max_length=16, seed=0).model)
    readout, depths = torch.nn.Linear(2, 2), DEPTHS[architecture]
    top = max(depths.values())
    rates = Training(learning_rate=1.0, head_learning_rate=5.0, layer_decay=0.5)
    groups = parameter_groups(backbone, readout, rates)
    rate_of = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    listed = {}
    for name, parameter in backbone.named_parameters():
        [part] = [part for part in depths if name == part or name.startswith(f"{part}.")]
        listed.setdefault(part, set()).add(rate_of[id(parameter)])
    assert listed == {part: {0.5 ** (top - depth)} for part, depth in depths.items()}
    assert {rate_of[id(parameter)] for parameter in readout.parameters()} == {5.0}
    matrices = [parameter for group in groups if group["holds_hidden_matrices"] for parameter in group["params"]]
    assert matrices and all(parameter.ndim > 1 for parameter in matrices)
    assert len(layers_of(backbone, "reinit_layers")) == top


def test_several_encoders_have_each_their_own_top() -> None:
    """Stitched with `unfreeze`, the shallower one must not learn more slowly."""
    backbones = [
        encoder(n_layers=n).source.build(texts=TEXTS, max_length=16, seed=0).model for n in (1, 3)
    ]  # fmt: skip
    groups = parameter_groups(
        torch.nn.ModuleList(backbones), torch.nn.Linear(2, 2), Training(learning_rate=1.0, layer_decay=0.5)
    )
    rate_of = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    for backbone in backbones:
        layers = layers_of(backbone, "reinit_layers")
        rates = [{rate_of[id(parameter)] for parameter in layer.parameters()} for layer in layers]
        assert rates == [{0.5 ** (len(layers) - 1 - n)} for n in range(len(layers))]


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
