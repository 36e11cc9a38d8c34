"""Text files of word vectors: word2vec's, whose first line says how many and how long, and GloVe's, which has none."""

import gzip
import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors.exceptions import ParamsError

Vectors = dict[str, np.ndarray]


def read_vectors(path: Path, *, wanted: Container[str], n_more: int) -> Vectors:
    """Return the vectors (V,) of the wanted words, and of the first `n_more` words besides, in the order of the file.

    Every line's number of values is checked, the numbers only of the words that are returned.

    Raises:
        ParamsError: naming file and line, if a line is no word with as many numbers as the others, or lines are missing.
    """
    vectors: Vectors = {}
    announced: list[int] | None = None
    size, n_besides, n_words = 0, 0, 0
    for number, line in _lines(path):
        fields = line.split(" ")
        if number == 1:
            announced = [int(field) for field in fields] if re.fullmatch(r"[0-9]+ [0-9]+", line) else None
            size = announced[1] if announced else len(fields) - 1
            if announced:
                continue
        n_words += 1
        word = _word(fields, size)
        if word is None:
            raise _broken(path, number, f"must hold a word and {size} numbers, got {len(fields) - 1} after the word")
        if word in vectors or (word not in wanted and n_besides >= n_more):
            continue
        n_besides += word not in wanted
        try:
            vectors[word] = np.array(fields[-size:], dtype=np.float32)
        except ValueError as error:
            raise _broken(path, number, str(error)) from error
        if not np.isfinite(vectors[word]).all():
            raise _broken(path, number, "must hold finite numbers, got infinity or NaN")
    if announced and announced[0] != n_words:
        raise _broken(path, 1, f"says {announced[0]} words, got {n_words}")
    return vectors


def vector_size(path: Path) -> int:
    """Return how many numbers a word has, by the first line of a file."""
    fields = next(_lines(path), (1, ""))[1].split(" ")
    return int(fields[1]) if len(fields) == 2 else len(fields) - 1


def _word(fields: list[str], size: int) -> str | None:
    """Return the word of a line's fields, or None. A word may hold blanks, but a number after one is a value too many.

    >>> [_word(line.split(" "), 2) for line in ("of 1 2", "New York 1 2", "of 3 1 2", "of 1")]
    ['of', 'New York', None, None]
    """
    parts = fields[: max(0, len(fields) - size)]
    if size < 1 or not any(parts) or (len(parts) > 1 and _is_number(parts[-1])):
        return None
    return " ".join(parts)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    opened: Any = gzip.open if path.suffix == ".gz" else open
    # Only a line feed ends a line: words may hold what Unicode calls line separators, or half a character.
    with opened(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            yield number, line.rstrip(" \r\n")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _broken(path: Path, number: int, problem: str) -> ParamsError:
    return ParamsError(f"{path}:{number}: {problem}. Get the file again: word2vec's or GloVe's text format is read.")
