"""Words and their offsets, vectors read from files and trained, and the encoder over them."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base_models.fold_training import train_fold
from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import ParamsError
from pipeline.models.batching import encode_rows
from pipeline.models.classifier import build_classifier, load_classifier, save_classifier
from pipeline.models.encoders.word_vectors import build
from pipeline.params.encoders import Encoder, Training
from pipeline.params.fields import Component
from pipeline.params.loading import load_params
from pipeline.recipes.sources import source_digest
from pipeline.text.vector_files import read_vectors
from pipeline.text.words import SPECIAL, WordTokenizer, is_mainly_chinese, word_spans, word_tags
from pipeline.training.parameter_groups import parameter_groups
from tests.small import TEXTS, frame

SMALL: dict[str, Any] = {"hidden_size": 16, "vector_size": 8, "vector_epochs": 1}
KINDS = ("jieba", "blank", "character")
LAYERS = ("bilstm", "cnn", "none")
FILE = "5 3\nthe 1 2 3\ncat 0 0 1\ndog 0 1 0\nzebra 1 0 0\n天 .5 .5 .5\n"


def encoder(**source: Any) -> Encoder:
    values = {"source": {"name": "word_vectors", **SMALL, **source}, "max_length": 16, "batch_size": 8, "epochs": 1}
    return Encoder.model_validate({**values, "learning_rate": 1e-2})


def parts_of(*, texts: list[str] = TEXTS, seed: int = 0, **source: Any) -> EncoderParts:
    return build(texts=texts, seed=seed, **{**SMALL, **source})


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "vectors.txt").write_text(FILE, encoding="utf-8")
    return str(tmp_path / "vectors.txt")


class Here:
    """A workspace in a folder that nobody watches."""

    def __init__(self, result: Path) -> None:
        self.result, self.checkpoints, self.device = result, None, "cpu"

    def progress(self, **values: float) -> None: ...

    def stop_requested(self) -> int | None: ...


mixed = st.text(st.sampled_from("今天天气很好我们去公园 abAB'’@#_-.,!?1２ \t\n　😀👍🏽é\u0301\u200d")) | st.text()


@pytest.mark.parametrize("kind", KINDS)
@given(text=mixed)
@settings(max_examples=60, deadline=None)
def test_the_words_cover_each_visible_character_exactly_once(kind: Any, text: str) -> None:
    spans = word_spans(text, kind)
    covered = [position for start, end in spans for position in range(start, end)]
    assert covered == [position for position, character in enumerate(text) if not character.isspace()]
    assert all(start < end for start, end in spans)


@pytest.mark.parametrize("kind", KINDS)
@given(text=mixed)
@settings(max_examples=40, deadline=None)
def test_each_token_stands_for_the_characters_at_its_offsets(kind: Any, text: str) -> None:
    words = [text[start:end] for start, end in word_spans(text, kind)]
    known = list(dict.fromkeys(words))
    ids, offsets = (WordTokenizer(known, kind)(text)[name] for name in ("input_ids", "offset_mapping"))
    assert [text[start:end] for start, end in offsets] == [known[i - len(SPECIAL)] for i in ids] == words


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("blank", "@Bob don't #Fire https://t.co/a1! ok", ["@Bob", "don't", "#Fire", "https://t.co/a1!", "ok"]),
        ("blank", "天气ok 😀", ["天", "气", "ok", "😀"]),
        ("jieba", "我们今天去公园 ok", ["我们", "今天", "去", "公园", "ok"]),
        ("character", "去 ok", ["去", "o", "k"]),
    ],
)
def test_words_are_what_a_reader_expects(kind: Any, text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in word_spans(text, kind)] == words


@pytest.mark.parametrize(
    ("text", "expected"), [("今天天气很好 lol", "jieba"), ("the weather is 好", "blank"), ("", "blank")]
)
def test_jieba_is_taken_for_chinese_texts_only(text: str, expected: str) -> None:
    assert is_mainly_chinese([text]) == (expected == "jieba")


def test_an_unknown_word_is_read_as_its_characters_or_as_unknown() -> None:
    tokenizer = WordTokenizer(["今", "天", "cat", "dont"], "jieba")
    batch = tokenizer(["今天 Cat", "catfish", ""])
    assert batch["input_ids"] == [[3, 4, 5], [1], []]
    assert batch["offset_mapping"][0] == [(0, 1), (1, 2), (3, 6)]
    assert WordTokenizer(["cat", "dont"], "blank")("Don’t CAT [PAD]")["input_ids"] == [4, 3, 1, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
@given(text=mixed)
@settings(max_examples=40, deadline=None)
def test_every_word_of_any_text_has_one_part_of_speech(kind: Any, text: str) -> None:
    assert len(word_tags(text, [start for start, _ in word_spans(text, kind)])) == len(word_spans(text, kind))


def test_an_id_says_a_words_part_of_speech_in_its_text_too() -> None:
    tokenizer = WordTokenizer(["他", "计划", "在"], "jieba", ["n", "p", "v"])
    words, tags = zip(
        *(divmod(number, 6)[::-1] for number in tokenizer("他计划在天津 [SEP] ok")["input_ids"]), strict=True
    )
    assert words == (3, 4, 5, 1, 1, 1, 1, 1)
    assert tags == (0, 1, 2, 0, 0, 0, 0, 0)  # `r`, `ns`, `x` and `eng` are none of the three
    assert tokenizer(["他"], ["在"])["input_ids"] == [[3, 2, 5 + 2 * 6]]


def test_parts_of_speech_stand_beside_the_words_vectors() -> None:
    parts = parts_of(texts=["他计划在天津", "今天的计划很好"] * 3, pos_size=3, layer="none", dropout=0.0)
    ids, n_words = torch.tensor(parts.tokenizer("他计划在天津")["input_ids"]), len(parts.tokenizer)
    vectors = parts.model.embeddings(ids[None])[0]
    assert vectors.shape == (len(ids), 8 + 3) and parts.model.embed_projection.in_features == 11
    assert torch.equal(vectors[:, :8], parts.model.embeddings.tuned[ids % n_words])
    assert torch.equal(vectors[:, 8:], parts.model.embeddings.tags.weight[ids // n_words])
    assert len(set((ids // n_words).tolist())) > 2 and int(ids.max()) < n_words * (1 + len(parts.tokenizer.tags))
    parts.model(ids[None], torch.ones_like(ids)[None]).last_hidden_state.sum().backward()
    assert parts.model.embeddings.tags.weight.grad.abs().sum() > 0


def test_a_separator_stands_between_the_texts_of_a_pair() -> None:
    batch = WordTokenizer(["cat", "dog"], "blank")(["cat", ""], ["dog cat", "dog"])
    assert batch["input_ids"] == [[3, 2, 4, 3], [2, 4]]
    assert [batch.sequence_ids(row) for row in (0, 1)] == [[0, None, 1, 1], [None, 1]]
    rows = frame(2).assign(text=["cat", ""], text_pair=["dog cat", "dog"])
    encoded = encode_rows(WordTokenizer(["cat", "dog"], "blank"), rows, encoder())
    assert encoded.spans is not None
    assert encoded.spans.tolist() == [[1, 4], [4, 5], [5, 8], [9, 12], [0, 1], [2, 5]]


def test_the_files_vectors_are_taken_over_and_its_other_words_are_known(file: str) -> None:
    parts = parts_of(texts=["The cat runs", "a cat runs 天空"], path=file, words="blank")
    words = parts.tokenizer.vocabulary
    assert words == ["cat", "runs", "the", "天", "dog", "zebra"]
    table = torch.cat([parts.model.embeddings.tuned, parts.model.embeddings.fixed]).detach()
    assert table[len(SPECIAL) + words.index("cat")].tolist() == [0, 0, 1]
    assert table[len(SPECIAL) + words.index("zebra")].tolist() == [1, 0, 0]
    assert 0 < table[len(SPECIAL) + words.index("runs")].norm() < 1
    assert len(parts.model.embeddings.fixed) == 2
    assert parts_of(texts=["the cat runs runs"], path=file, max_words=2).tokenizer.vocabulary == ["runs", "cat"]


def test_without_tuning_words_without_a_vector_are_unknown(file: str) -> None:
    parts = parts_of(texts=["the cat runs", "a cat runs"], path=file, words="blank", tune=False)
    assert parts.tokenizer("cat runs")["input_ids"] == [3, 1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"texts": ["xyz abc"]}, "vectors.txt: must know words of the texts, got none of 2. Take"),
        ({"texts": ["the cat"], "path": None}, "min_count: no word of the 1 texts occurs 2 times. Lower"),
        ({"texts": [""], "path": None}, "min_count: no word of the 1 texts occurs 2 times. Lower"),
    ],
)
def test_what_cannot_be_built_is_said(source: dict[str, Any], message: str, file: str) -> None:
    with pytest.raises(ParamsError, match=message):
        parts_of(**{"path": file, **source})


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("hidden_size", [8, 16])
def test_states_are_finite_of_one_width_and_same_for_the_same_seed(layer: Any, hidden_size: int) -> None:
    results = []
    for seed in (0, 0, 1):
        parts = parts_of(seed=seed, layer=layer, hidden_size=hidden_size, n_layers=2)
        batch = encode_rows(parts.tokenizer, frame(), encoder()).batch(np.arange(4))
        ids, mask = batch["input_ids"], batch["attention_mask"]
        outputs = parts.model.eval()(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        assert len(outputs.hidden_states) == 1 + parts.model.config.num_hidden_layers
        assert all(states.shape == (*ids.shape, hidden_size) for states in outputs.hidden_states)
        outputs.last_hidden_state.sum().backward()
        trained = [parameter for parameter in parts.model.parameters() if parameter.requires_grad]
        assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in trained)
        results.append(outputs.last_hidden_state)
    assert torch.isfinite(results[0]).all() and torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("layer", LAYERS)
def test_padding_does_not_change_a_texts_states(layer: Any) -> None:
    parts = parts_of(texts=[*TEXTS, "cat", "cat"], layer=layer, n_layers=2)
    rows = frame(3).assign(text=["cat dog", TEXTS[0], ""])
    encoded = encode_rows(parts.tokenizer, rows, encoder())
    together, alone = (encoded.batch(np.array(rows)) for rows in ([0, 1, 2], [0]))
    states, expected = (
        parts.model.eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        for batch in (together, alone)
    )
    torch.testing.assert_close(states[:1, :2], expected)
    assert torch.isfinite(states).all()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("source", [{}, {"path": "file"}, {"path": "file", "tune": False}])
def test_a_trained_fold_saves_and_loads_and_learns_what_it_may(
    layer: Any, source: dict[str, Any], file: str, tmp_path: Path
) -> None:
    source = {key: file if value == "file" else value for key, value in source.items()}
    chosen = encoder(layer=layer, **source)
    before = parts_of(texts=frame()["text"].tolist(), layer=layer, **source).model.embeddings
    (tmp_path / "fold").mkdir()
    train_fold(Here(tmp_path / "fold"), rows=frame(), n_outputs=2, settings=chosen, scorer=None, seed=0)  # type: ignore[arg-type]
    model, tokenizer = load_classifier(tmp_path / "fold")
    batch = encode_rows(tokenizer, frame(), chosen).batch(np.arange(6))
    assert torch.isfinite(model(batch)).all()
    (tmp_path / "again").mkdir()
    save_classifier(model, tokenizer, tmp_path / "again", source="word_vectors")
    assert torch.equal(load_classifier(tmp_path / "again")[0](batch), model(batch))
    after, known = model.backbone.embeddings, read_vectors(Path(file), wanted=set(), n_more=9)
    table = torch.cat([after.tuned, after.fixed]).detach().numpy()
    kept = {word for word, vector in known.items() if np.array_equal(table[tokenizer.ids.get(word, 0)], vector)}
    assert len(after.tuned) == (0 if source.get("tune") is False else len(before.tuned))
    assert kept == (set() if not source else set(known) if "tune" in source else {"zebra"})


@pytest.mark.parametrize("source", [{}, {"pos_size": 3}])
def test_the_saved_model_gives_the_same_logits(source: dict[str, Any], tmp_path: Path) -> None:
    chosen, parts = encoder(), parts_of(**source)
    model = build_classifier(parts, pooling=chosen.pooling, head=chosen.head, n_outputs=3, seed=1)
    batch = encode_rows(parts.tokenizer, frame(), chosen).batch(np.arange(6))
    save_classifier(model, parts.tokenizer, tmp_path, source="word_vectors")
    loaded, tokenizer = load_classifier(tmp_path)
    assert torch.equal(loaded(batch), model.eval()(batch))
    assert tokenizer(TEXTS[0]) == parts.tokenizer(TEXTS[0])
    assert json.loads((tmp_path / "words.json").read_text(encoding="utf-8"))["words"] == parts.tokenizer.kind


def test_embeddings_learn_slowest_and_layers_in_order() -> None:
    parts = parts_of(n_layers=2)
    rates = Training(learning_rate=1.0, head_learning_rate=5.0, layer_decay=0.5, weight_decay=0.1)
    groups = parameter_groups(parts.model, torch.nn.Linear(2, 2), rates)
    rate_of = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    named = {name: rate_of[id(parameter)] for name, parameter in parts.model.named_parameters()}
    assert {name.split(".")[0]: rate for name, rate in named.items() if "embed" in name} == {
        "embeddings": 0.25,
        "embed_projection": 0.25,
    }
    assert {rate for name, rate in named.items() if name.startswith("layers.0.")} == {0.5}
    assert {rate for name, rate in named.items() if name.startswith("layers.1.")} == {1.0}


def test_gradient_checkpointing_is_refused_as_other_encoders_refuse_it() -> None:
    with pytest.raises(ValueError, match="does not support .* checkpointing"):
        parts_of().model.gradient_checkpointing_enable()


def vectors_digest(algorithm: Any) -> str:
    """Return what stands for vocabulary and vectors, trained in this process."""
    parts = parts_of(algorithm=algorithm)
    table = parts.model.embeddings.tuned.detach().numpy().tobytes()
    return sha256(table + repr(parts.tokenizer.vocabulary).encode()).hexdigest()


def test_trained_vectors_are_the_same_in_every_process() -> None:
    command = f"from {__name__} import vectors_digest as d; print(d('fasttext'), d('word2vec'))"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == [vectors_digest("fasttext"), vectors_digest("word2vec")]


def test_the_recipe_names_the_file_and_the_libraries(file: str) -> None:
    source = Component(kind="encoders", name="word_vectors", options={"path": file})
    named = source_digest(source)
    assert set(named) == {"vectors.txt", "gensim", "jieba"} and named["jieba"] == "0.42.1"
    Path(file).write_text(FILE.replace("0 0 1", "0 0 2"), encoding="utf-8")
    assert source_digest(source)["vectors.txt"] != named["vectors.txt"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("models/none.txt", "source.path: no such file: models/none.txt. Put"),
        ("data/vectors.txt", "source.path: must lie in models/, which DVC watches, got data/vectors.txt"),
        ("models/../vectors.txt", "source.path: must lie in models/"),
    ],
)
def test_a_file_that_dvc_cannot_watch_is_refused(path: str, message: str, tmp_path: Path) -> None:
    from tests.conftest import PARAMS

    changed = PARAMS.replace(
        "  bert:\n    source: {", f"  words:\n    source: {{name: word_vectors, path: {path}}}\n  bert:\n    source: {{"
    )
    (tmp_path / "params.yaml").write_text(changed, encoding="utf-8")
    with pytest.raises(ParamsError, match=message):
        load_params(tmp_path / "params.yaml")
