"""What augmenters over sentences share: nlpaug's interface around a function, and where terms that must stay stand.

Source: nlpaug's `SentenceAugmenter`, https://github.com/makcedward/nlpaug, whose import loads every model class of
transformers; its base class serves as well.
"""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate

from nlpaug import Augmenter
from nlpaug.util import Action, Method

from pipeline.augment.rewriting.spans import Cutter, PerText, Spared, term_spans
from pipeline.text.words import Span

Rewrite = Callable[[str, frozenset[str]], str | None]
SIGNS = re.compile(r"[，,。！？；｡…!?.;]+\s*\Z")


class SentenceAug(Augmenter):
    """An nlpaug augmenter of sentences; `stopwords` holds the terms that must stay."""

    def __init__(self, rewrite: Rewrite, *, name: str, action: str) -> None:
        """Take a function (text, terms) -> variant or None, and one of nlpaug's actions."""
        super().__init__(name=name, method=Method.SENTENCE, action=action, aug_min=1, aug_max=None)
        self.rewrite = rewrite
        self.stopwords = Spared(frozenset())

    @classmethod
    def clean(cls, data: str | list[str]) -> str | list[str]:
        """Return texts without blanks around them."""
        return data.strip() if isinstance(data, str) else [text.strip() for text in data]

    def substitute(self, data: str) -> str | None:
        """Return a variant of a text, or None."""
        return self.rewrite(data, self.stopwords.terms)

    insert = swap = delete = substitute


def per_text(rewrite: Rewrite, *, name: str, action: str) -> PerText:
    """Return a function (text without blanks around it, terms) -> variant or None as an `Augmenter`.

    It may draw from `random`, which each text seeds by itself.
    """
    return PerText(SentenceAug(rewrite, name=name, action=getattr(Action, action.upper())), Cutter())


def free_pieces(pieces: Sequence[str], terms: frozenset[str]) -> list[int]:
    """Return which pieces of a text hold a letter or digit and no part of a term.

    >>> free_pieces(["A flood. ", "!!", "In New ", "York."], frozenset({"new york"}))
    [0]
    """
    kept = list(term_spans("".join(pieces), terms))
    return [
        position
        for position, (start, end) in enumerate(piece_spans(pieces))
        if any(map(str.isalnum, pieces[position])) and not any(a < end and b > start for a, b in kept)
    ]


def piece_spans(pieces: Sequence[str]) -> list[Span]:
    """Return [start, end) of the pieces in the text that they make."""
    ends = list(accumulate(map(len, pieces)))
    return list(zip([0, *ends], ends, strict=False))
