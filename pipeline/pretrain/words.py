"""The words and phrases of texts that are masked whole."""

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import regex

from pipeline.pretrain.pretext import Span
from pipeline.text.words import HAN, IS_HAN, is_mainly_unspaced, word_spans

Words = Literal["auto", "jieba", "blank", "character"]
BORDER = rf"(?:\b|(?<=[{HAN}])|(?=[{HAN}]))"  # Chinese has none between words


def words_of(text: str, *, kind: Words) -> list[Span]:
    """Return [start, end) of each word: by jieba, by blanks and signs, or each character.

    `auto` takes jieba for a text with Chinese in it, characters where no blanks are written otherwise, as in Thai.

    >>> [text[start:end] for text in ["don't go", "去公园 ok"] for start, end in words_of(text, kind="auto")]
    ["don't", 'go', '去', '公园', 'ok']
    """
    if kind == "auto":
        unspaced = is_mainly_unspaced([text])
        kind = "character" if unspaced else "jieba" if IS_HAN.search(text) else "blank"
    return word_spans(text, kind)


def phrase_pattern(phrases: Sequence[str]) -> "regex.Pattern[str]":
    """Return what finds any of some phrases, the longest that begins at a place, not inside words of alphabets."""
    return regex.compile(rf"{BORDER}\L<phrases>{BORDER}", regex.IGNORECASE, phrases=list(phrases))


def phrases_of(text: str, *, pattern: "regex.Pattern[str]", kind: Words) -> list[Span]:
    """Return [start, end) of each phrase and, outside them, of each word (see `words_of`).

    >>> text = "New York is a cat category"
    >>> spans = phrases_of(text, pattern=phrase_pattern(["new york", "a cat"]), kind="auto")
    >>> [text[start:end] for start, end in spans]
    ['New York', 'is', 'a cat', 'category']
    """
    found = [match.span() for match in pattern.finditer(text)]
    unit_of = [-1] * len(text)
    for number, (start, end) in enumerate([*words_of(text, kind=kind), *found]):
        unit_of[start:end] = [number] * (end - start)
    runs = [list(places) for _, places in groupby(range(len(text)), key=lambda place: unit_of[place])]
    return [(run[0], run[-1] + 1) for run in runs if unit_of[run[0]] >= 0]
