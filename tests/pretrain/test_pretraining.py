"""A pre-training as a unit: it learns, goes on after a kill in the same bytes, and leaves what loads elsewhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertForMaskedLM, BertModel

from pipeline.errors.exceptions import ParamsError
from pipeline.params.encoders import Pretraining
from pipeline.params.fields import Component
from pipeline.pretrain.corpus import Corpus
from pipeline.pretrain.pretraining import build_pretraining, pretrain
from tests.base_models.test_shared_training import bytes_of, workspace
from tests.pretrain.tokenizers_of import tokenizer_of
from tests.small import TEXTS, encoder

CORPUS = Corpus(TEXTS[:120], {"tasks": 120})


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings_of(**keys: Any) -> Pretraining:
    given = {"epochs": 3, "learning_rate": 5e-3, "batch_size": 16, "held_out_ratio": 0.2, "checkpoint_seconds": 1e-9}
    return Pretraining.model_validate({**given, **keys})


def train(home: Any, source: Component | None = None, **keys: Any) -> dict[str, Any]:
    pretrain(
        home, corpus=CORPUS, settings=settings_of(**keys), source=source or encoder().source, max_length=16, seed=0
    )
    return bytes_of(home)


def checkpoint(
    folder: str, model: Any = BertForMaskedLM, *, n_vectors: int = 0, without: tuple[str, ...] = ()
) -> Component:
    """Write a small checkpoint and return the source that reads it."""
    tokenizer = tokenizer_of("wordpiece")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=n_vectors or len(tokenizer), max_position_embeddings=32, **small)
    model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = Path(folder) / "tokenizer_config.json"
    kept = {key: value for key, value in json.loads(path.read_text()).items() if key not in without}
    path.write_text(json.dumps(kept))
    return Component(kind="encoders", name="pretrained", options={"path": folder})


def test_F1_I1_a_pre_training_learns_and_goes_on_after_a_kill_in_the_same_bytes() -> None:
    """Killed in the second epoch and begun again, a pre-training leaves the same files and the same record of each epoch."""
    whole = train(workspace("whole"))
    [record] = whole["histories"]
    perplexities = [scores["perplexity"] for scores in record["scores"]]
    assert len(perplexities) == 4 and min(perplexities[1:]) < 0.6 * perplexities[0]
    assert record["kept_epoch"] == min(range(3), key=lambda epoch: perplexities[epoch + 1])
    assert record["n_texts"] + record["n_held_out"] == 120 and record["notes"] == ["all weights are new"]
    with pytest.raises(KeyboardInterrupt):
        train(workspace("killed", kill_at=9))
    assert train(workspace("killed")) == whole


def test_the_result_loads_elsewhere_and_its_head_is_that_which_was_measured(tmp_path: Path) -> None:
    home = workspace("home")
    [record] = train(home)["histories"]
    folder = home.result
    for loader in (AutoModelForMaskedLM, AutoModel):
        _, report = loader.from_pretrained(folder, output_loading_info=True)
        assert all("pooler" in name for name in report["missing_keys"])
    assert AutoTokenizer.from_pretrained(folder).mask_token_id is not None
    again = Component(kind="encoders", name="pretrained", options={"path": str(folder)})
    _, measured = build_pretraining(texts=CORPUS.texts, source=again, settings=settings_of(), max_length=16, seed=0)
    assert measured.pretext.notes == []
    assert measured.measure(measured.pretext.model)["loss"] == pytest.approx(
        record["scores"][record["kept_epoch"] + 1]["loss"], rel=1e-5
    )


def test_static_masks_are_the_same_in_every_epoch_and_others_are_not() -> None:
    for static in (True, False):
        options = {"source": encoder().source, "max_length": 16, "seed": 0}
        trainee, _ = build_pretraining(texts=CORPUS.texts, settings=settings_of(static=static), **options)
        n_steps = -(-len(trainee.objective.lengths) // 16)
        rows = torch.arange(16).numpy()
        first, last, next_epoch = (trainee.objective.batch(rows, step) for step in (0, n_steps - 1, n_steps))
        assert torch.equal(first["input_ids"], last["input_ids"])
        assert torch.equal(first["input_ids"], next_epoch["input_ids"]) == static


def test_without_texts_held_out_the_last_epoch_is_kept() -> None:
    [record] = train(workspace("home"), held_out_ratio=0.0, epochs=1)["histories"]
    assert record["scores"] == [] and record["kept_epoch"] == 0 and record["n_texts"] == 120


def test_a_checkpoint_without_a_head_trains_a_new_one_tied_to_its_embeddings_and_says_so(caplog) -> None:
    home = workspace("home")
    [record] = train(home, checkpoint("models/bare", BertModel), epochs=1)["histories"]
    [note] = record["notes"]
    assert (
        "models/bare has no cls.predictions" in note and "new, and trained from random" in note and note in caplog.text
    )
    model = AutoModelForMaskedLM.from_pretrained(home.result)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    headed = workspace("headed")
    assert train(headed, checkpoint("models/whole"), epochs=1)["histories"][0]["notes"] == []


def half_a_checkpoint(folder: str) -> Component:
    source = checkpoint(folder)
    shutil.rmtree(folder)
    whole = checkpoint(f"{folder}-whole")
    model = AutoModelForMaskedLM.from_pretrained(f"{folder}-whole")
    weights = {name: tensor for name, tensor in model.state_dict().items() if "layer.0.output" not in name}
    model.save_pretrained(folder, state_dict=weights)
    tokenizer_of("wordpiece").save_pretrained(folder)
    assert whole.name == source.name
    return source


@pytest.mark.parametrize(
    ("source", "keys", "said"),
    [
        (lambda: checkpoint("models/x", without=("mask_token",)), {}, "models/x must have a mask token"),
        (lambda: checkpoint("models/x", n_vectors=100), {}, "must have an embedding for each token"),
        (lambda: checkpoint("models/x"), {"max_length": 64}, "must be at most 32, the positions of models/x, got 64"),
        (lambda: checkpoint("models/x"), {"max_length": 4, "epochs": 1, "masking": "tokens"}, None),
        (lambda: half_a_checkpoint("models/x"), {}, "must hold all weights of the encoder"),
        (lambda: checkpoint("models/x", without=("pad_token",)), {"epochs": 1}, None),
    ],
    ids=["no mask", "vocabulary", "positions", "two tokens a row", "no encoder", "no padding"],
)
def test_a_checkpoint_that_cannot_learn_the_pretext_is_refused_in_words(
    source: Any, keys: Any, said: str | None
) -> None:
    """A checkpoint without a mask token, with a larger vocabulary, fewer positions or lacking weights is refused."""
    if said is None:
        assert train(workspace("home"), source(), **keys)["histories"][0]["steps"]
    else:
        with pytest.raises(ParamsError, match=said):
            train(workspace("home"), source(), **keys)
