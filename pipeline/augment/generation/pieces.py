"""Texts cut to what a model takes at once, and what it made of them put together again."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from pipeline.augment.generation.translation_cache import Made
from pipeline.augment.rewriting.spans import CLOSE, term_spans
from pipeline.text.sentences import split_clauses, split_sentences

WIDTH_STEP, ROW_STEP = 16, 8


def choose_variants(
    texts: Sequence[str],
    make: Callable[[list[tuple[int, int]]], list[Made]],
    *,
    n_variants: int,
    n_draws: int,
    reserved: Sequence[frozenset[str]],
) -> list[list[str]]:
    """Return for each text at most `n_variants` candidates that are distinct, no copy of it, and kept its reserved terms.

    `make` gets pairs (row, draw) and returns the candidates of each. A text gets draws 0, 1, ... until it has enough, at
    most `n_draws`; so its first variants are the same however many are asked for.
    """
    found: list[list[str]] = [[] for _ in texts]
    drawn = [0 if has_letters(text) else n_draws for text in texts]
    while True:
        asked = [
            (row, draw)
            for row, done in enumerate(drawn)
            for draw in range(done, min(n_draws, done + n_variants - len(found[row])))
        ]
        if not asked:
            return found
        for (row, draw), candidates in zip(asked, make(asked), strict=True):
            drawn[row] = draw + 1
            for candidate in candidates:
                if len(found[row]) < n_variants and _serves(candidate, texts[row], found[row], reserved[row]):
                    found[row].append(str(candidate))


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
    joined: Made = []
    for parts in zip(*pieces, strict=True):
        text: str | None = ""
        for part in parts:
            text = None if text is None or part is None else glue(text, part)
        joined.append(text)
    return joined


def _serves(candidate: str | None, text: str, others: list[str], terms: frozenset[str]) -> bool:
    if candidate is None or not has_letters(candidate) or candidate == text.strip() or candidate in others:
        return False
    return not terms or _terms(text, terms) <= _terms(candidate, terms)


def _terms(text: str, terms: frozenset[str]) -> Counter[str]:
    return Counter(text[start:end].casefold() for start, end in term_spans(text, terms))


def _halves(text: str) -> list[str]:
    """Return a text cut at the blank nearest its middle, or in the middle."""
    middle = len(text) // 2
    blanks = [match.end() for match in re.finditer(r"\s+", text) if 0 < match.end() < len(text)]
    cut = min(blanks, key=lambda place: abs(place - middle), default=middle)
    return [text[:cut], text[cut:]]
