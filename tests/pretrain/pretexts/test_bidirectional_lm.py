"""Pre-training of LSTMs in both directions: perplexity falls, folds begin there, a killed one ends in the same bytes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.artifacts.files import sha256_of
from pipeline.artifacts.paths import pretrained_folder
from pipeline.errors.exceptions import InterruptedRun, ParamsError
from pipeline.params.encoders import Encoder
from pipeline.params.training_checks import check_pretraining
from pipeline.pretrain.corpus import Corpus
from pipeline.pretrain.language_model import start_of
from pipeline.pretrain.pretraining import pretrain
from tests.base_models.test_shared_training import run
from tests.base_models.test_training_steps import counts, recipe_of
from tests.families import Place
from tests.small import TEXTS, encoder

SOURCE = {"name": "bilstm", "vocab_size": 200, "hidden_size": 16}
PRETRAIN = {"pretext": "bidirectional_lm", "epochs": 3, "batch_size": 16, "learning_rate": 2e-2, "held_out_ratio": 0.2}


def settings_of(**changed: Any) -> Encoder:
    small = {"source": SOURCE, "pretrain": PRETRAIN, "max_length": 16, "pooling": "layer_mix", "epochs": 1}
    return Encoder.model_validate({**small, "learning_rate": 1e-5, "batch_size": 8, **changed})


def pretrained(folder: Path, settings: Encoder, *, stop: int | None = None) -> Path:
    place: Any = Place(folder, stop=stop)
    corpus = Corpus(sorted(set(TEXTS)), {"tasks": len(set(TEXTS))})
    pretrain(place, corpus=corpus, settings=settings.pretrain, source=settings.source, max_length=16, seed=0)
    return place.result


def test_perplexity_falls_in_both_directions_and_what_is_resumed_has_the_same_bytes(tmp_path: Path) -> None:
    settings = settings_of()
    whole = pretrained(tmp_path / "whole", settings)
    record = json.loads((whole / "history.json").read_text(encoding="utf-8"))
    first, last = record["scores"][0], record["scores"][-1]
    assert all(last[name] < 0.8 * first[name] for name in ("forwards", "backwards", "perplexity"))
    assert last["accuracy"] > first["accuracy"] and record["notes"] == ["all weights are new"]
    with pytest.raises(InterruptedRun):
        pretrained(tmp_path / "stopped", settings, stop=5)
    again = pretrained(tmp_path / "stopped", settings)
    assert sha256_of(again / "model.safetensors") == sha256_of(whole / "model.safetensors")
    # Pre-trained once more, it goes on from there.
    source = settings.beginning_at(whole).source
    model, new = start_of(source, texts=TEXTS, max_length=16, seed=1).load("AutoModel")
    kept = load_file(whole / "model.safetensors")
    assert not new and all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())
    built = source.build(texts=["other texts"], max_length=16, seed=5)
    assert torch.equal(built.model.embeddings.weight, kept["embeddings.weight"])
    assert source.call("state_shape") == (2, 16)
    assert source.call("n_parameters", max_length=16) == sum(tensor.numel() for tensor in kept.values())


def test_folds_begin_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_of()
    run(settings=settings, recipe=recipe_of(settings))
    assert (counts("finetune-pretrain-bert"), counts("finetune-bert")) == ((1, 0), (4, 0))
    folder = Path("out/finetune/bert")
    before = load_file(pretrained_folder(folder, None) / "model.safetensors")["layers.0.forwards.weight_ih_l0"]
    after = load_file(folder / "models" / "weather-r0-f0" / "model.safetensors")[
        "backbone.layers.0.forwards.weight_ih_l0"
    ]
    assert 0 < (before - after).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            encoder({"pretrain": PRETRAIN}),
            "from_config is no language model that can learn bidirectional_lm. Take source bilstm, or remove it.",
        ),
        (
            settings_of(pretrain={"pretext": "masked_lm"}),
            "bilstm is no language model that can learn masked_lm. Take source from_config or pretrained, or remove it.",
        ),
    ],
)
def test_what_cannot_learn_a_pretext_is_told(settings: Encoder, message: str) -> None:
    [problem] = check_pretraining(settings)
    assert problem.location == ("pretrain",) and problem.text == message


def test_a_folder_with_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts = encoder().source.build(texts=TEXTS, max_length=16, seed=0)
    folder = Path("models/bert")
    parts.model.save_pretrained(folder)
    parts.tokenizer.save_pretrained(folder)
    source = settings_of(source={**SOURCE, "path": str(folder)}).source
    assert not list(source.call("check", max_length=16))
    with pytest.raises(ParamsError, match=r"models/bert must be a model of two directions .* got a BertModel"):
        source.build(texts=TEXTS, max_length=16, seed=0)
    for path, text in {"models/none": "models/none/config.json cannot be read", "elsewhere": "cannot be read"}.items():
        [problem] = settings_of(source={**SOURCE, "path": path}).source.call("check", max_length=16)
        assert problem.location == ("source", "path") and text in problem.text
