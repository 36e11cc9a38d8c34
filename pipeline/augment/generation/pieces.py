"""Texts cut to what a model takes at once, and what it made of them put together again."""

import re
from collections.abc import Callable, Iterator
from functools import reduce

from pipeline.augment.generation.translation_cache import Made
from pipeline.augment.rewriting.spans import CLOSE
from pipeline.text.sentences import split_clauses, split_sentences

WIDTH_STEP, ROW_STEP = 16, 8


def fitting(text: str, fits: Callable[[str], bool]) -> Iterator[str]:
    """Yield the pieces of a text that fit: its sentences, their clauses, and halves of what is still too long.

    >>> list(fitting("One. Two, three four.", lambda piece: len(piece) < 9))
    ['One. ', 'Two, ', 'three ', 'four.']
    """
    waiting = [(text, 0)]
    while waiting:
        piece, level = waiting.pop()
        if fits(piece) or len(piece) < 2:
            yield piece
            continue
        cut = (split_sentences, split_clauses, _halves)[level]
        waiting += [(part, min(level + 1, 2)) for part in reversed(cut(piece))]


def has_letters(text: str) -> bool:
    """Return whether there is anything to say in other words: digits, signs and emoji alone have none."""
    return any(map(str.isalpha, text))


def glue(first: str, second: str) -> str:
    """Return two texts as one: a blank between them unless one is Chinese there.

    >>> glue("Fire.", "Run!"), glue("着火了。", "快跑！"), glue("", "Run!")
    ('Fire. Run!', '着火了。快跑！', 'Run!')
    """
    if not first or not second or CLOSE.match(first[-1]) or CLOSE.match(second[0]):
        return first + second
    return f"{first} {second}"


def width_of(length: int) -> int:
    """Return to how many tokens a row is padded: the next step, with at least one place of padding.

    Where no row is padded, transformers leaves the mask out, and other kernels run.

    >>> width_of(1), width_of(15), width_of(16)
    (16, 16, 32)
    """
    return (length // WIDTH_STEP + 1) * WIDTH_STEP


def join_pieces(pieces: list[Made]) -> Made:
    """Return candidates of pieces as candidates of their text; one without an end leaves its text without."""
    whole = [[part for part in parts if part is not None] for parts in zip(*pieces, strict=True)]
    return [reduce(glue, parts, "") if len(parts) == len(pieces) else None for parts in whole]


def _halves(text: str) -> list[str]:
    """Return a text cut at the blank nearest its middle, or in the middle."""
    middle = len(text) // 2
    blanks = [match.end() for match in re.finditer(r"\s+", text) if 0 < match.end() < len(text)]
    cut = min(blanks, key=lambda end: abs(end - middle), default=middle)
    return [text[:cut], text[cut:]]
