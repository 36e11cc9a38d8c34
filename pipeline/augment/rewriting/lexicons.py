"""Lexicons, a word and what may stand for it per line, and confusion files: characters that are taken for one another."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors.exceptions import ParamsError

Confusions = dict[str, list[str]]


def read_confusions(path: Path) -> Confusions:
    """Return for each character those it is taken for, in the order of the file: `character blank other characters` per line.

    A line without other characters is passed over; lines of the same character are joined.

    Raises:
        ParamsError: naming file and line, if the file is missing or empty, no UTF-8, or a line has another form.
    """
    confusions: dict[str, dict[str, None]] = {}
    for number, fields in lexicon_lines(path):
        character, others = fields[0], "".join(fields[1:])
        if len(character) > 1 or len(fields) > 2:
            raise broken(path, number, "one character, a blank and the characters it is taken for", fields)
        confusions.setdefault(character, {}).update(dict.fromkeys(others.replace(character, "")))
    return {character: list(others) for character, others in confusions.items() if others}


def lexicon_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line of a UTF-8 file that is not blank, and its fields, which stand between blanks."""
    if not path.is_file():
        raise ParamsError(f"{path}: must be a file, got none. Put the lexicon there or correct the path.")
    is_empty = True
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                fields = line.decode("utf-8-sig" if number == 1 else "utf-8").split()
            except UnicodeDecodeError as error:
                raise ParamsError(f"{path}:{number}: must be UTF-8, got {error}. Save the file as UTF-8.") from error
            if fields:
                is_empty = False
                yield number, fields
    if is_empty:
        raise ParamsError(f"{path}: must hold a word per line, got an empty file. Get the file again.")


def broken(path: Path, number: int, wanted: str, fields: list[str]) -> ParamsError:
    """Return the error about a line that has another form."""
    got = " ".join(fields)
    return ParamsError(f"{path}:{number}: must hold {wanted}, got {got[:60]!r}. Correct the line.")
