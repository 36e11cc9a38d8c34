"""What the file of every encoder offers: it says without torch what is wrong with its options and how large it is."""

import inspect
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from pipeline import components, contracts
from pipeline.errors.exceptions import MachineError, ParamsError
from pipeline.models.batching import encode
from pipeline.models.encoders import from_config
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from tests.small import TEXTS, encoder

DECLARED = [name for name, value in vars(contracts.Encoder).items() if inspect.isfunction(value) and name[0] != "_"]
every = pytest.mark.parametrize("name", components.available("encoders"))


def source(name: str, **options: Any) -> Component:
    return Component(kind="encoders", name=name, options=options)


@every
@pytest.mark.parametrize("function", DECLARED)
def test_an_encoder_declares_itself_and_names_only_what_is_offered(name: str, function: str) -> None:
    offered = set(inspect.signature(getattr(contracts.Encoder, function)).parameters)
    declared = inspect.signature(components.load("encoders", name, function)).parameters.values()
    assert {argument.name for argument in declared} <= offered
    assert all(argument.kind is argument.KEYWORD_ONLY for argument in declared)


def test_encoders_are_checked_and_measured_without_torch() -> None:
    code = (
        "import sys; from pipeline import components; from pipeline.params.fields import Component\n"
        "for name in components.available('encoders'):\n"
        "    source = Component(kind='encoders', name=name, options={})\n"
        "    list(source.call('check', max_length=8, chat_template=False))\n"
        "    components.load('encoders', name, 'n_parameters')\n"
        "print(*(name for name in ('torch', 'transformers', 'tokenizers') if name in sys.modules), 'loaded')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["loaded"]


@pytest.mark.parametrize("architecture", ["bert", "roberta", "roformer", "deberta-v2"])
def test_the_size_of_a_configured_encoder_is_about_that_of_the_model(architecture: str) -> None:
    configured = source("from_config", architecture=architecture, vocab_size=8000, hidden_size=256, n_layers=4)
    sizes = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
    with torch.device("meta"):
        model = AutoModel.from_config(
            AutoConfig.for_model(architecture, vocab_size=8000, max_position_embeddings=72, pad_token_id=0, **sizes)
        )
    truth = sum(parameter.numel() for parameter in model.parameters())
    assert configured.call("n_parameters", max_length=64) == pytest.approx(truth, rel=0.05)
    assert configured.call("state_shape") == (4, 256)


def test_the_size_of_a_checkpoint_is_read_from_its_header_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    model = encoder().source.build(texts=TEXTS, max_length=16, seed=0).model
    model.save_pretrained(tmp_path)
    checkpoint = source("pretrained", path=str(tmp_path))
    assert checkpoint.call("n_parameters") == sum(parameter.numel() for parameter in model.parameters())
    assert checkpoint.call("state_shape") == (1, 16)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(MachineError, match="must hold weights, got a damaged file") as caught:
        checkpoint.call("n_parameters")
    assert caught.value.code == "E402"


def test_the_size_of_word_vectors_is_that_of_their_file(tmp_path: Path) -> None:
    (tmp_path / "vectors.txt").write_text("a 1 2 3\nb 1 2 3\n", encoding="utf-8")
    words = source("word_vectors", path=str(tmp_path / "vectors.txt"), max_words=1000, hidden_size=8, layer="none")
    assert words.call("n_parameters", max_length=9) == 3000 + 24


FUNNEL = {"num_hidden_layers": None, "block_sizes": [1, 1], "architectures": ["FunnelModel"]}


@pytest.mark.parametrize(
    ("architecture", "config", "named"),
    [
        ("distilbert", {}, {"dim": 16, "hidden_dim": 64, "n_layers": 3, "n_heads": 2}),
        ("xlnet", {}, {"d_model": 16, "d_inner": 64, "d_head": 8, "n_layer": 3}),
        ("t5", {"d_ff": 24}, {"d_model": 16, "d_ff": 24, "d_kv": 8, "num_layers": 3, "num_decoder_layers": 3}),
        ("bart", {"d_model": 32}, {"d_model": 32, "encoder_ffn_dim": 128, "decoder_layers": 3, "encoder_layers": 3}),
        ("mobilebert", {}, {"hidden_size": 16, "intra_bottleneck_size": 4, "intermediate_size": 16}),
        ("longformer", {}, {"attention_window": [18] * 3, "intermediate_size": 64, "sep_token_id": 3}),
        ("qwen3", {"num_key_value_heads": 1}, {"num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 64}),
        ("funnel", FUNNEL, {"d_model": 16, "d_inner": 64, "d_head": 8}),
    ],
)
def test_options_reach_a_family_under_its_own_names(architecture: str, config: Any, named: dict[str, Any]) -> None:
    source = encoder(architecture=architecture, n_layers=3, config=config).source
    built = source.build(texts=TEXTS, max_length=17, seed=0).model.config
    assert {name: getattr(built, name) for name in named} == named


def test_an_option_that_a_family_has_no_key_for_is_told() -> None:
    with pytest.raises(ParamsError, match="'funnel' .*: it has no num_hidden_layers; name it null in `config`"):
        encoder(architecture="funnel").source.build(texts=TEXTS, max_length=16, seed=0)


KINDS_OF_TOKENS = pytest.mark.parametrize("kind", ["bpe", "byte_bpe"])


@KINDS_OF_TOKENS
def test_D13_trained_tokenizers_keep_letters_with_their_marks(kind: Any) -> None:
    """A tokenizer trained on the texts learns words of scripts with combining marks whole and loses none of their vowels."""
    texts = ["हिन्दी में", "สวัสดี น้ำ", "مُحَمَّد رَسُول", "café"] * 5
    tokenizer = from_config.build(
        texts=texts, max_length=16, seed=0, tokenizer=kind, vocab_size=2000, hidden_size=16, n_layers=1, n_heads=2
    ).tokenizer
    for text in texts:
        encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        assert [text[a:b].strip() for a, b in encoded["offset_mapping"]] == text.split()
    assert tokenizer.tokenize("हन्द में") != tokenizer.tokenize("हिन्दी में")


@KINDS_OF_TOKENS
@pytest.mark.parametrize("letters", ["abcdefgh", "กขคงจ"])
def test_D12_a_row_without_blanks_does_not_make_training_a_tokenizer_quadratic(kind: Any, letters: str) -> None:
    """A tokenizer is trained on a row of 300,000 characters without a blank in linear time: else this hangs."""
    run = "".join(random.Random(0).choices(letters, k=300_000))
    options = {"tokenizer": kind, "vocab_size": 500, "hidden_size": 16, "n_layers": 1, "n_heads": 2}
    plain, long = (
        from_config.build(texts=["the cat sat on the mat"] * 20 + more, max_length=16, seed=0, **options).tokenizer
        for more in ([], [run])
    )
    assert len(long) > len(plain) and long.tokenize("the cat") and len(long(run)["input_ids"]) > 1000


def test_a_checkpoint_without_a_chat_template_is_told_before_anything_loads(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts = encoder(tokenizer="byte_bpe").source.build(texts=TEXTS, max_length=16, seed=0)
    folder = Path("models/small")
    for part in (parts.model, parts.tokenizer):
        part.save_pretrained(folder)
    source = Encoder.model_validate({"source": {"name": "pretrained", "path": str(folder)}}).source
    [problem] = source.call("check", max_length=16, chat_template=True)
    assert problem.location == ("chat_template",) and "got none in models/small/chat_template.jinja nor" in problem.text
    parts.tokenizer.chat_template = "<user>{{ messages[0].content }}<answer>"
    parts.tokenizer.save_pretrained(folder)
    assert not list(source.call("check", max_length=16, chat_template=True))
    tokenizer = source.build(max_length=16).tokenizer
    encoded = encode(tokenizer, ["the cat"], None, max_length=64, truncation="head", chat=True)
    assert "".join(tokenizer.decode(encoded.input_ids).split()) == "<user>thecat<answer>"
