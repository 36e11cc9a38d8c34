"""Texts as rows of tokens, each token with the unit that is masked as a whole, whatever tokenizer made it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors.exceptions import ParamsError
from pipeline.models.batching import Encoded, encode, padded_positions
from pipeline.models.tokenizing import TOKENIZE
from pipeline.pretrain.masks import NO_UNIT
from pipeline.pretrain.pretext import Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


CUT_ROWS = 1000


@dataclass(frozen=True)
class Pieces:
    """N rows of tokens (see `Encoded`), and of each token its unit: from 0 on in each row, `NO_UNIT` of special tokens.

    Tokens of one unit stand beside one another. Where a token is of two words these are one unit.
    """

    encoded: Encoded
    units: np.ndarray

    def units_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the units (B, T) of some rows, padded with `NO_UNIT`."""
        mask, positions = padded_positions(self.encoded.starts, rows)
        return np.where(mask, self.units[positions], NO_UNIT)


def pieces_of(
    tokenizer: "PreTrainedTokenizerFast",
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    max_length: int,
    spans: Callable[[str], list[Span]] | None,
) -> Pieces:
    """Tokenize texts, or pairs, to at most `max_length` tokens, and number the units that `spans` finds (see `Masking`).

    Raises:
        ParamsError: if the tokenizer does not say which characters a token stands for.
    """
    encoded = encode(tokenizer, texts, text_pairs, max_length=max_length, truncation="head")
    if encoded.spans is None:
        raise ParamsError(
            f"pretrain: a tokenizer must say where a token stands in the text, got {type(tokenizer).__name__}, which does "
            "not. Take a checkpoint with tokenizer.json."
        )
    units, starts = np.empty(len(encoded.input_ids), np.int32), encoded.starts
    for row, text in enumerate(texts):
        part = slice(starts[row], starts[row + 1])
        parts = [text] if text_pairs is None else [text, text_pairs[row]]
        units[part] = token_units(parts, encoded.spans[part], spans)
    return Pieces(encoded, units)


def token_units(texts: Sequence[str], offsets: np.ndarray, spans: Callable[[str], list[Span]] | None) -> np.ndarray:
    """Return the unit of each token (T,) of a text or pair, given its characters on the row's axis (see `Encoded.spans`).

    A token of blanks alone is of the word after it: so sentencepiece writes it.

    >>> offsets = np.array([[0, 1], [1, 3], [3, 4], [4, 8], [8, 9]])
    >>> token_units(["new day"], offsets, lambda text: [(0, 3), (4, 7)]).tolist()
    [-1, 0, 0, 1, -1]
    """
    starts = np.cumsum([1, *(len(text) + 1 for text in texts)])  # on the axis one place stands before each text
    begins, ends = offsets[:, 0], np.maximum(offsets[:, 1], offsets[:, 0] + 1)
    own = ~(np.isin(begins, starts - 1) & (offsets[:, 1] > begins))
    units = np.full(len(offsets), NO_UNIT, np.int32)
    if spans is None:
        units[own] = np.arange(own.sum())
        return units
    words = [
        (start + begin, start + end) for start, text in zip(starts, texts, strict=False) for begin, end in spans(text)
    ]
    next_word, last_word = np.full(starts[-1] + 1, len(words), np.int32), np.full(starts[-1] + 1, -1, np.int32)
    for number, (begin, end) in enumerate(words):
        next_word[begin:end] = last_word[begin:end] = number
    next_word = np.minimum.accumulate(next_word[::-1])[::-1]
    first = next_word[begins[own]]
    last = np.maximum(first, np.maximum.accumulate(last_word)[ends[own] - 1])
    before = np.concatenate([[-1], np.maximum.accumulate(last)[:-1]])
    units[own] = np.cumsum(first > before) - 1
    return units


def blocks(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], *, max_length: int) -> list[str]:
    """Return texts of which each fits into a row: a longer one in several, cut before the token that is one too many.

    Raises:
        ParamsError: if a row holds none but special tokens.
    """
    room = max_length - len(tokenizer("")["input_ids"])
    if room < 1:
        raise ParamsError(
            f"pretrain.max_length: must hold more than the {max_length - room} special tokens of a row, got {max_length}. "
            "Raise it."
        )
    return [
        block
        for start in range(0, len(texts), CUT_ROWS)
        for block in _cut(tokenizer, texts[start : start + CUT_ROWS], room)
    ]


def _cut(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], room: int) -> Iterator[str]:
    options = {**TOKENIZE, "add_special_tokens": False, "return_offsets_mapping": tokenizer.is_fast}
    batch = tokenizer(list(texts), **options)
    for text, offsets in zip(texts, batch.get("offset_mapping") or [[]] * len(texts), strict=True):
        places = [0, *(offsets[n][0] for n in range(room, len(offsets), room)), len(text)]
        yield from (part for begin, end in pairwise(places) if (part := text[begin:end].strip()))
