"""Text files of word vectors: word2vec's, whose first line says how many and how long, and GloVe's, which has none."""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors.exceptions import ParamsError

N_LOOKED_AT = 9
Vectors = dict[str, np.ndarray]


def read_vectors(path: Path, *, wanted: Container[str], n_more: int) -> Vectors:
    """Return the vectors (V,) of the wanted words, and of the first `n_more` words besides, in the order of the file.

    Every line's number of values is checked, the numbers only of the words that are returned. Passed over are lines without
    anything on them, and words that are only white space, which some files have.

    Raises:
        ParamsError: naming file and line, if a line is no word with as many numbers as the others, lines are missing, or the
            file cannot be unpacked.
    """
    vectors: Vectors = {}
    file = _opened(path)
    n_besides, n_words = 0, 0
    for number, line in file.lines:
        fields = line.rsplit(None, file.size)
        n_words += 1
        word = _word(line, fields, file.size)
        if word is None:
            got = len(line.split()) - 1
            raise _broken(path, number, f"must hold a word and {file.size} numbers, got {got} after the word")
        if not word or word in vectors or (word not in wanted and n_besides >= n_more):
            continue
        n_besides += word not in wanted
        try:
            vectors[word] = np.array(fields[-file.size :], dtype=np.float32)
        except ValueError as error:
            raise _broken(path, number, str(error)) from error
        if not np.isfinite(vectors[word]).all():
            raise _broken(path, number, "must hold finite numbers, got infinity or NaN")
    if file.announced not in (None, n_words):
        raise _broken(path, 1, f"says {file.announced} words, got {n_words}")
    return vectors


def vector_size(path: Path) -> int:
    """Return how many numbers a word has, by the first lines of a file."""
    return _opened(path).size


@dataclass(frozen=True)
class _Opened:
    announced: int | None  # how many words the file says to have
    size: int
    lines: Iterator[tuple[int, str]]


def _opened(path: Path) -> _Opened:
    """Read the first line of word2vec, or of GloVe the numbers of the first few lines: a word may hold blanks."""
    lines = _lines(path)
    first = list(islice(lines, N_LOOKED_AT))
    if first and re.fullmatch(r"[0-9]+\s+[0-9]+", first[0][1]):
        announced, size = map(int, first[0][1].split())
        return _Opened(announced, size, chain(first[1:], lines))
    # The first of equally frequent counts is taken.
    counts = Counter(len(line.split()) - (not line[0].isspace()) for _, line in first)
    return _Opened(None, counts.most_common(1)[0][0] if counts else 0, chain(first, lines))


def _word(line: str, fields: list[str], size: int) -> str | None:
    """Return the word of a line, empty where it is but white space, or None where there is none.

    A word may hold blanks, but a number after one is a value too many.

    >>> [_word(line, line.rsplit(None, 2), 2) for line in ("of 1 2", "New York\t1  2", "  1 2", "of 3 1 2", "of 1")]
    ['of', 'New York', '', None, None]
    """
    if size < 1 or len(fields) < size:
        return None
    if len(fields) == size:
        return "" if line[0].isspace() else None
    word, parts = fields[0].strip(), fields[0].split()
    return None if len(parts) > 1 and _is_number(parts[-1]) else word


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number of each line on which there is anything, and the line."""
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        # Only a line feed ends a line: words may hold what Unicode calls line separators, or half a character.
        with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if text := line.rstrip():
                    yield number, text
    except (OSError, EOFError, zlib.error) as error:
        raise ParamsError(f"{path}: cannot be read: {error}. Get the file again.") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _broken(path: Path, number: int, problem: str) -> ParamsError:
    return ParamsError(f"{path}:{number}: {problem}. Get the file again: word2vec's or GloVe's text format is read.")
