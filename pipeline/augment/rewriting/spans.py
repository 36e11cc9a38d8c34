"""Words for nlpaug: how a text of any language is cut into them and put together again, and what of it must stay.

Source: nlpaug, https://github.com/makcedward/nlpaug. It cuts at blanks and joins by blanks, which leaves Chinese as it is
or full of holes, draws from the global generators, and skips only fixed words; here each text has its own seed and words.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.text.words import HAN, IS_HAN, Span, is_of_words, word_spans

N_TRIES = 8
CACHED_TERMS = 1000
HAN_RUN = re.compile(f"[{HAN}]+")
# Nothing is written between Chinese characters and full-width signs.
CLOSE = re.compile(rf"[{HAN}\u3000-\u303f\uff00-\uffef]")
CLOSING, OPENING = frozenset(".,!?;:%)]}'\"’”…"), frozenset("([{#@$“‘")


class Word(str):
    """A word that knows what stood before it in its text."""

    __slots__ = ("glue",)
    glue: str

    def __new__(cls, word: str, glue: str) -> "Word":
        """Return the word with the blanks before it."""
        made = super().__new__(cls, word)
        made.glue = glue
        return made


class Cutter:
    """Cuts a text into words and joins them; what was not changed stands as it stood.

    >>> cutter = Cutter()
    >>> cutter.join(cutter.cut("Don't  panic, it's (only) me"))
    "Don't  panic, it's (only) me"
    """

    def __init__(self) -> None:
        self._terms: frozenset[str] = frozenset()
        self._words: list[Word] = []

    def spare(self, text: str, reserved: frozenset[str]) -> Container[str]:
        """Take the terms that stay whole in the text to be cut next; return what must not be changed of its words."""
        self._terms = frozenset(text[start:end] for start, end in term_spans(text, reserved))
        return Spared(self._terms)

    def cut(self, text: str) -> list[Word]:
        """Return the words of a text, terms to be spared as one word each."""
        spans = cut_spans(text, self._terms)
        ends = [0, *(end for _, end in spans)]
        self._words = [Word(text[a:b], text[end:a]) for (a, b), end in zip(spans, ends, strict=False)]
        return list(self._words)

    def join(self, words: Sequence[str]) -> str:
        """Return the text of words: between as many as were cut stand the blanks that stood there."""
        if len(words) == len(self._words):
            return "".join(old.glue + new for old, new in zip(self._words, words, strict=True)).strip()
        return joined(words)


@dataclass(frozen=True)
class Spared:
    """A container of the words that are not to be changed: reserved ones, signs, links and names of users."""

    terms: frozenset[str]

    def __contains__(self, word: object) -> bool:
        return word in self.terms or not is_word(str(word))


@dataclass(frozen=True)
class PerText:
    """An nlpaug augmenter as an `Augmenter`: text by text, under the text's own seed."""

    augmenter: Any  # was given `cutter.cut` and `cutter.join` as its tokenizers
    cutter: Cutter

    def augment(
        self, texts: Sequence[str], *, n_variants: int, seeds: Sequence[int], reserved: Sequence[frozenset[str]]
    ) -> list[list[str]]:
        """Return for each text at most `n_variants` variants (see `contracts.Augmenter`)."""
        states = random.getstate(), np.random.get_state()
        variants = []
        try:
            for text, seed, terms in zip(texts, seeds, reserved, strict=True):
                self.augmenter.stopwords = self.cutter.spare(text, terms)
                random.seed(seed)
                np.random.seed(seed % 2**32)
                variants.append(distinct_variants(text, n_variants, self._variant))
        finally:  # the global generators go on as if nothing had been drawn
            random.setstate(states[0])
            np.random.set_state(states[1])
        return variants

    def _variant(self, text: str) -> str | None:
        made = self.augmenter.augment(text)
        return made[0] if made else None


def distinct_variants(text: str, n_variants: int, make: Callable[[str], str | None]) -> list[str]:
    """Return at most `n_variants` variants, none equal to the text or to another; N_TRIES failures in a row end it."""
    variants: list[str] = []
    n_failures = 0 if text.strip() else N_TRIES
    while len(variants) < n_variants and n_failures < N_TRIES:
        made = make(text)
        n_failures += 1
        if made and made.strip() and made != text.strip() and made not in variants:
            variants.append(made)
            n_failures = 0
    return variants


def cut_spans(text: str, terms: frozenset[str] = frozenset()) -> list[Span]:
    """Return [start, end) of the words of a text, Chinese ones as jieba cuts them; each of the terms is one word.

    >>> text = "我们去New York玩"
    >>> [text[start:end] for start, end in cut_spans(text, frozenset({"new york"}))]
    ['我们', '去', 'New York', '玩']
    """
    spans = [span for span in word_spans(text, "blank") if not IS_HAN.match(text, span[0])]
    for run in HAN_RUN.finditer(text):
        spans += [(run.start() + start, run.start() + end) for start, end in word_spans(run.group(), "jieba")]
    kept = list(term_spans(text, terms))
    if kept:
        spans = [*kept, *(piece for span in spans for piece in _without(span, kept))]
    return sorted(spans)


def term_spans(text: str, terms: frozenset[str]) -> Iterator[Span]:
    """Yield [start, end) of the terms in a text, in any case, no part of a longer word unless Chinese.

    >>> list(term_spans("the bus to US airports", frozenset({"us", "Airport"})))
    [(11, 13)]
    """
    pattern = _pattern(terms) if terms else None
    match = pattern.search(text) if pattern else None
    while pattern and match:
        start, end = match.span()
        whole = not (_continues(text, start - 1, start) or _continues(text, end - 1, end))
        if whole:
            yield start, end
        match = pattern.search(text, end if whole else start + 1)


def count_terms(text: str, terms: frozenset[str]) -> Counter[str]:
    """Return how often each term, case-folded, stands in a text."""
    return Counter(text[start:end].casefold() for start, end in term_spans(text, terms))


@lru_cache(maxsize=CACHED_TERMS)
def _pattern(terms: frozenset[str]) -> re.Pattern[str] | None:
    longest_first = sorted(filter(str.strip, terms), key=lambda term: (-len(term), term))
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if longest_first else None


def _continues(text: str, left: int, right: int) -> bool:
    """Return whether the characters at two places belong to one word that is not Chinese."""
    is_inside = left >= 0 and right < len(text)
    return is_inside and all(is_of_words(sign) and not CLOSE.match(sign) for sign in (text[left], text[right]))


def words_of(text: str) -> list[str]:
    """Return the words of a text that hold a letter or digit and are no link or user's name, in their order."""
    return [word for word in (text[start:end] for start, end in cut_spans(text)) if is_word(word)]


def align_case(word: str, model: str) -> str:
    """Return a word capitalised as another is.

    >>> align_case("flood", "FIRE"), align_case("flood", "Fire"), align_case("Paris", "fire"), align_case("flood", "I")
    ('FLOOD', 'Flood', 'Paris', 'Flood')
    """
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def is_word(word: str) -> bool:
    """Return whether it holds a letter or digit and is no link or user's name.

    >>> [is_word(word) for word in ("fire", "好", "。", "http://t.co/x", "@Bob", "#fire", "7")]
    [True, True, False, False, False, True, True]
    """
    return word[:1] != "@" and not word.startswith(("http://", "https://")) and any(map(str.isalnum, word))


def _without(span: Span, kept: list[Span]) -> Iterator[Span]:
    """Yield what is left of a span outside the kept ones."""
    start, end = span
    for kept_start, kept_end in kept:
        if kept_start < end and kept_end > start:
            if start < kept_start:
                yield start, kept_start
            start = max(start, kept_end)
    if start < end:
        yield start, end


def joined(words: Iterable[str]) -> str:
    """Return the text of words, some of them new, a blank between two that would run into one.

    >>> joined([Word("I", ""), Word("你", ""), Word("love", "")]), joined([Word("I", ""), Word("love", ""), "it", "!"])
    ('I你love', 'I love it!')
    """
    parts: list[str] = []
    last = ""
    for word in words:
        close = not last or CLOSE.match(last) or CLOSE.match(word[0])
        if isinstance(word, Word):
            glue = word.glue or (" " if not close and is_of_words(last) and is_of_words(word[0]) else "")
        else:
            glue = "" if close or word[0] in CLOSING or last in OPENING else " "
        parts += (glue, word)
        last = word[-1]
    return "".join(parts).strip()
