"""Lexicons: words and what may stand for them, synonyms and antonyms, and characters that are taken for one another.

Source: lines of words; Ganitkevitch et al., PPDB, 2013, https://aclanthology.org/N13-1092; the extended Cilin, Harbin
Institute of Technology; Miller, WordNet, 1995, file format wndb(5WN). NLTK's reader of WordNet refuses folders outside its
own and needs files that Debian's package lacks, so its data files are read here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.errors.exceptions import ParamsError

Confusions = dict[str, list[str]]
Kind = Literal["ppdb", "cilin", "wordnet"]
Groups = dict[str, list[Sequence[str]]]
CILIN = re.compile(r"[A-Z][a-z]\d\d[A-Z]\d\d[=#@]")
WORDNET_FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
MARKER = re.compile(r"\((?:a|p|ip)\)$")  # how WordNet says where an adjective may stand
Synset = tuple[tuple[str, ...], list[tuple[str, str]]]


@dataclass(frozen=True)
class SynonymFile:
    """Under each lower-cased word the groups of words that may stand for it, and of those that say the opposite."""

    synonyms: Groups = field(default_factory=dict)
    antonyms: Groups = field(default_factory=dict)


def read_synonyms(path: Path, *, kind: Kind | None, related: bool) -> SynonymFile:
    """Read a lexicon.

    Args:
        path: a file; of WordNet the folder of its files, or one of them.
        kind: its format; None finds out.
        related: whether Cilin's groups of related words (`#`) count as synonyms.

    Raises:
        ParamsError: naming file and line, if a file is missing or empty, no UTF-8, or a line is broken.
    """
    kind = kind or _kind_of(path)
    if kind == "wordnet":
        return _read_wordnet(path if path.is_dir() else path.parent)
    return _read_cilin(path, related) if kind == "cilin" else _read_lines(path)


def read_antonyms(path: Path) -> Groups:
    """Return the antonyms from a file of lines `word antonym antonym...`, or from WordNet."""
    if _kind_of(path) == "wordnet":
        return _read_wordnet(path if path.is_dir() else path.parent).antonyms
    return _read_lines(path).synonyms


def _kind_of(path: Path) -> Kind:
    if path.is_dir() or path.name in WORDNET_FILES:
        return "wordnet"
    _, fields = next(lexicon_lines(path))
    return "cilin" if CILIN.fullmatch(fields[0]) else "ppdb"


def _read_lines(path: Path) -> SynonymFile:
    """Read lines `word synonym synonym...`, or PPDB's own `[NN] ||| word ||| synonym ||| ... ||| Exclusion`."""
    file = SynonymFile()
    for number, fields in lexicon_lines(path):
        if "|||" in fields:
            columns = " ".join(fields).split(" ||| ")
            if len(columns) < 4:
                raise broken(path, number, "PPDB's columns between |||", fields)
            same = file.antonyms if columns[-1] == "Exclusion" else file.synonyms
            same.setdefault(columns[1].lower(), []).append((columns[2],))
        elif len(fields) > 1:
            file.synonyms.setdefault(fields[0].lower(), []).append(fields[1:])
        elif any(map(str.isalnum, fields[0])):  # PPDB-XL has lines of control characters
            raise broken(path, number, "a word and its synonyms between blanks", fields)
    return file


def _read_cilin(path: Path, related: bool) -> SynonymFile:
    """Read lines of a code and words: `Aa01A02= 人类 生人 全人类`."""
    file = SynonymFile()
    for number, (code, *words) in lexicon_lines(path):
        if not CILIN.fullmatch(code) or not words:
            raise broken(path, number, "a code such as Aa01A02= and words between blanks", [code, *words])
        if code[-1] == "=" or (related and code[-1] == "#"):
            for word in words:
                file.synonyms.setdefault(word.lower(), []).append(words)
    return file


def _read_wordnet(folder: Path) -> SynonymFile:
    """Read the synsets; all words of one are antonyms of all words of another if any two of them are."""
    paths = [folder / name for name in WORDNET_FILES if (folder / name).is_file()]
    if not paths:
        raise ParamsError(f"{folder}: must hold WordNet's {', '.join(WORDNET_FILES)}, got none. Put them there.")
    synsets: dict[tuple[str, str], Synset] = {}
    for path in paths:
        synsets |= dict(_synsets(path))
    file = SynonymFile()
    for words, opposites in synsets.values():
        for word in words:
            file.synonyms.setdefault(word.lower(), []).append(words)
            for address in opposites:
                file.antonyms.setdefault(word.lower(), []).append(synsets[address][0] if address in synsets else ())
    return file


def _synsets(path: Path) -> Iterator[tuple[tuple[str, str], Synset]]:
    """Yield the place, the words and the places of the antonyms of each synset of a data file.

    A line is `offset file type n_words (word id)... n_pointers (symbol offset type words)... | gloss`, n_words hexadecimal.
    """
    for number, fields in lexicon_lines(path):
        if fields[0].isdecimal() and len(fields[0]) < 8:  # the licence, its lines numbered
            continue
        try:
            n_words = int(fields[3], 16)
            start = 5 + 2 * n_words
            words = tuple(MARKER.sub("", word) for word in fields[4 : start - 1 : 2])
            pointers = [fields[at : at + 4] for at in range(start, start + 4 * int(fields[start - 1]), 4)]
            opposites = [(_part(kind), offset) for symbol, offset, kind, _ in pointers if symbol == "!"]
        except (ValueError, IndexError) as error:
            raise broken(path, number, "a synset as in wndb(5WN)", fields) from error
        yield (_part(fields[2]), fields[0]), (words, opposites)


def _part(kind: str) -> str:
    """Return the part of speech; `s`, an adjective's satellite, stands among the adjectives."""
    return "a" if kind == "s" else kind


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
