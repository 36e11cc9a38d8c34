"""Impacts are those of the definition, whatever the batches; words of several pieces count as one; bad input is refused."""

import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer
from typer.testing import CliRunner

from pipeline import components
from pipeline.cli import app
from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.pretrain import impact as impacts
from pipeline.pretrain.impact import Impact, Segmenter, impact, join_words, load_masked_model
from pipeline.pretrain.words import words_of
from tests.pretrain.tokenizers_of import write_masked_model

TEXT = "The catriver purrs 今天天气"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models/small, and models/without_mask, whose tokenizer has no token for what is masked."""
    root: Path = tmp_path_factory.mktemp("masked")
    write_masked_model(root / "models/small")
    tokenizer = AutoTokenizer.from_pretrained(write_masked_model(root / "models/without_mask"))
    tokenizer.mask_token = None
    tokenizer.save_pretrained(root / "models/without_mask")
    return root


@pytest.fixture(scope="module")
def parts(folder: Path) -> EncoderParts:
    return load_masked_model(str(folder / "models/small"))


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def blanks(text: str) -> list[tuple[int, int]]:
    return words_of(text, kind="blank")


def by_definition(parts: EncoderParts, text: str, spans: list[tuple[int, int]]) -> np.ndarray:
    """Return the impacts one by one: how far the state of word i moves when j is masked as well."""
    batch: Any = parts.tokenizer(text, return_offsets_mapping=True)
    offsets = [
        (b + (text[b:e].isspace()), e + (text[b:e].isspace())) for b, e in batch["offset_mapping"]
    ]  # of what follows
    own = [[n for n, (b, e) in enumerate(offsets) if b < end and start < e] for start, end in spans]

    def state(word: int, other: int) -> torch.Tensor:
        ids = torch.tensor([batch["input_ids"]])
        ids[0, [*own[word], *own[other]]] = parts.tokenizer.mask_token_id
        with torch.inference_mode():
            return parts.model(input_ids=ids).last_hidden_state[0, own[word]].mean(dim=0)

    numbers = range(len(spans))
    return np.array([[float((state(i, j) - state(i, i)).norm()) for j in numbers] for i in numbers])


@pytest.mark.parametrize(("kind", "token_budget"), [("wordpiece", 1), ("bytes", 100), ("unigram", 8192)])
def test_impacts_are_those_of_the_definition_in_any_batches(kind: str, token_budget: int, tmp_path: Path) -> None:
    parts = load_masked_model(str(write_masked_model(tmp_path / "model", kind)))
    found = impact(parts, TEXT, partial(words_of, kind="auto"), token_budget=token_budget)
    assert [TEXT[start:end] for start, end in found.spans] == ["The", "catriver", "purrs", "今天天气"]
    assert len(parts.tokenizer.tokenize(TEXT)) > len(found.spans) + 3
    np.testing.assert_allclose(found.matrix, by_definition(parts, TEXT, found.spans), atol=1e-5)
    assert (found.matrix.diagonal() == 0).all() and (found.matrix + np.eye(len(found.spans)) > 0).all()


def test_without_words_each_token_is_one_and_words_that_share_a_token_are_one(parts: EncoderParts) -> None:
    batch: Any = parts.tokenizer(TEXT, add_special_tokens=False, return_offsets_mapping=True)
    assert impact(parts, TEXT).spans == batch["offset_mapping"]
    shared = impact(parts, "the cat", lambda _: [(0, 1), (1, 3), (4, 7)])
    assert shared.spans == [(0, 3), (4, 7)] and impact(parts, "cat", blanks).matrix.tolist() == [[0]]


def test_neighbours_of_much_impact_on_one_another_are_one_word_unless_a_blank_is_between() -> None:
    matrix = np.ones((5, 5)) - np.eye(5)
    matrix[0, 1] = matrix[1, 0] = matrix[2, 3] = matrix[3, 2] = 3
    found = Impact([(0, 1), (1, 2), (2, 3), (4, 5), (5, 6)], matrix)
    assert join_words(found, threshold=1.25) == [(0, 2), (2, 3), (4, 5), (5, 6)]
    assert join_words(found, threshold=0.0) == [(0, 3), (4, 6)] and join_words(found, threshold=9) == found.spans


def test_a_segmenter_looks_at_each_text_once_and_serves_as_a_masking(
    parts: EncoderParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    masking = components.build("masking", "impact", {"model": "models/small", "threshold": 1.0})
    segmenter = Segmenter(parts, 1.0)
    words = segmenter.words_of(TEXT)
    assert masking.spans(TEXT) == words and 1 < len(words) < len(impact(parts, TEXT).spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(words))
    monkeypatch.setattr(impacts, "impact", None)
    assert segmenter.words_of(TEXT) == words
    assert segmenter.words_of("\u200b ") == [], "what the tokenizer drops is no word"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("models/none", "model: no such folder: models/none. Give a folder in models/ with config.json"),
        ("models/without_mask", "model: models/without_mask must have a mask token, got none. Take one that was"),
    ],
)
def test_a_model_that_cannot_read_masks_is_refused(model: str, said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        load_masked_model(model)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" ", "text: must have a word, got ' '. Leave it out"),
        ("cat " * 50, r"text: must fit into the model, got \d+ tokens: .* must be at most 48"),
    ],
)
def test_a_text_without_a_word_or_longer_than_the_positions_is_refused(
    parts: EncoderParts, text: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        impact(parts, text, blanks)


def parse(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["parse", "--model", "models/small", *arguments])
    return result.exit_code, result.output


def test_the_command_shows_words_heads_and_constituents() -> None:
    code, shown = parse("the cat sleeps", "--plot", "map.png")
    lines = shown.splitlines()
    assert code == 0 and lines[0] == "# text = the cat sleeps" and lines[1].startswith("# constituents = (")
    rows = [line.split() for line in lines[2:5]]
    assert [row[:2] for row in rows] == [["1", "the"], ["2", "cat"], ["3", "sleeps"]]
    assert sorted(row[2] for row in rows)[0] == "0" and Path("map.png").read_bytes().startswith(b"\x89PNG")
    Path("texts.txt").write_text("the cat\n\n今天天气 很好\n", encoding="utf-8")
    code, shown = parse("--file", "texts.txt", "--json", "--words", "impact", "--tree", "spanning")
    records = json.loads(shown)
    assert code == 0 and [record["text"] for record in records] == ["the cat", "今天天气 很好"]
    for record in records:
        n_words = len(record["words"])
        assert np.array(record["impact"]).shape == (n_words, n_words) and record["heads"].count(None) == 1
        assert all(record["text"][word["start"] : word["end"]] == word["text"] for word in record["words"])


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ([], 2, "where texts what must be given, got 0. mend Name them, or one a line in a --file."),
        (["a", "b", "--plot", "x.png"], 2, "where texts what must be a single one for --plot, got 2"),
        (["the cat", "  "], 3, "where text 2 what text: must have a word"),
        (["--file", "absent.txt"], 3, "where absent.txt what must be a file of texts, one a line, got none"),
        (["--file", "bytes.txt"], 3, "where bytes.txt:2 what must be text in UTF-8, got byte 0xff at place 1"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], exit_code: int, said: str) -> None:
    Path("bytes.txt").write_bytes(b"the cat\n\xff\n")
    code, shown = parse(*arguments)
    assert code == exit_code and said in " ".join(shown.split())
