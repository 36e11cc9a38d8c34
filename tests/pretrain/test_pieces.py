"""Whole words under every way to cut texts into tokens, by characters and not by how a tokenizer marks its pieces."""

from functools import partial

import numpy as np
import pytest
from transformers import AutoTokenizer

from pipeline.pretrain.masks import Masks
from pipeline.pretrain.pieces import blocks, pieces_of
from pipeline.pretrain.pretext import Masking
from pipeline.pretrain.words import phrase_pattern, phrases_of, words_of
from tests.conftest import ROOT
from tests.pretrain.tokenizers_of import SAID, tokenizer_of
from tests.small import TEXTS

KINDS = ["wordpiece", "bytes", "unigram"]
WORDS = partial(words_of, kind="auto")


def share_masked_whole(tokenizer, texts, pairs=None) -> tuple[float, int]:
    """Return which share of the words that are masked at all are masked whole, and how many words were.

    Found here from the tokens' offsets in each text, unlike in the code.
    """
    pieces = pieces_of(tokenizer, texts, pairs, max_length=128, spans=WORDS)
    masks, n_whole, n_masked, rows = Masks(Masking(WORDS), 0.3, seed=0), 0, 0, np.arange(len(texts))
    for epoch in range(5):
        chosen = masks.chosen(pieces.units_of(rows), rows, epoch)
        for row in rows:
            both = [texts[row]] if pairs is None else [texts[row], pairs[row]]
            batch = tokenizer(*both, return_offsets_mapping=True)
            sequences = batch.sequence_ids(0)
            for number, text in enumerate(both):
                for begin, end in WORDS(text):
                    inside = [
                        chosen[row, place]
                        for place, (first, last) in enumerate(batch["offset_mapping"])
                        if sequences[place] == number and text[max(first, begin) : min(last, end)].strip()
                    ]
                    n_masked += any(inside)
                    n_whole += bool(inside) and all(inside)
    return n_whole / n_masked, n_masked


@pytest.mark.parametrize("kind", KINDS)
def test_each_word_is_masked_whole_or_not_at_all(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    share, n_masked = share_masked_whole(tokenizer, [*SAID, *TEXTS[:20]])
    assert share == 1.0 and n_masked > 200
    assert share_masked_whole(tokenizer, SAID, SAID[::-1])[0] == 1.0
    tokens = Masks(Masking(), 0.3, seed=0)  # this test can tell: token by token words are torn
    pieces = pieces_of(tokenizer, SAID, max_length=128, spans=None)
    assert (
        len(np.unique(pieces.units_of(np.array([0])))) == pieces.encoded.lengths[0] - 1 and tokens.masking.spans is None
    )


@pytest.mark.real_data
@pytest.mark.parametrize("model", ["e5-zh-en", "minilm", "splade-tiny"])
def test_each_word_is_masked_whole_by_real_tokenizers(model: str) -> None:
    if not (ROOT / "models" / model).is_dir():
        pytest.skip(f"models/{model} is not here")
    assert share_masked_whole(AutoTokenizer.from_pretrained(ROOT / "models" / model), SAID)[0] == 1.0


def test_units_stay_within_a_text_and_a_token_of_two_words_makes_one_unit_of_them() -> None:
    pieces = pieces_of(tokenizer_of("wordpiece"), ["big cat"], ["cat"], max_length=16, spans=WORDS)
    [units] = pieces.units_of(np.array([0]))
    assert units[0] == units[-1] == -1 and (units == -1).sum() == 3 and units.max() == 2
    together = pieces_of(tokenizer_of("wordpiece"), ["cat"], max_length=16, spans=lambda text: [(0, 2), (2, 3)])
    assert set(together.units.tolist()) <= {-1, 0, 1}


def test_phrases_are_units_and_are_not_found_inside_words() -> None:
    spans = partial(phrases_of, pattern=phrase_pattern(["big cat", "公园散步", "river"]), kind="auto")
    text = "Big cat rivers 去公园散步吧"
    assert [text[begin:end] for begin, end in spans(text)] == ["Big cat", "rivers", "去", "公园散步", "吧"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_text_is_cut_into_rows_that_hold_all_of_it(kind: str) -> None:
    tokenizer, text = tokenizer_of(kind), " ".join(TEXTS[:12])
    parts = blocks(tokenizer, [text, "cat"], max_length=12)
    assert "".join(parts[:-1]).replace(" ", "") == text.replace(" ", "") and parts[-1] == "cat"
    lengths = pieces_of(tokenizer, parts, max_length=100, spans=None).encoded.lengths
    assert lengths.max() <= 14 and np.median(lengths) >= 11  # a word cut in two may take a token more
