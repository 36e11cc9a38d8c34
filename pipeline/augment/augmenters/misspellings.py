"""Spelling mistakes that people make: words replaced by misspellings from a lexicon.

Source: nlpaug's SpellingAug and its English lexicon, from https://github.com/ybisk/charNMT-noise. Differs from nlpaug: a
misspelling is never mended into a word, capitals are kept, and a second lexicon does not get the first one's words.
"""

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from nlpaug.augmenter.word import SpellingAug
from nlpaug.util import LibraryUtil

from pipeline.augment.rewriting.character_noise import WordByWord, per_text, word_amount
from pipeline.augment.rewriting.lexicons import broken, lexicon_lines
from pipeline.augment.rewriting.word_substitution import PLAIN
from pipeline.contracts import Augmenter
from pipeline.ranges import Name, PositiveInt, Share

SPARES = True
FILES = ("lexicon",)
CACHED_WORDS = 50_000


class Misspellings(WordByWord, SpellingAug):
    """nlpaug's augmenter with a lexicon of its own: nlpaug keeps the first it reads for all, in no fixed order."""

    def __init__(self, *, lexicon: "Lexicon", **options: Any) -> None:
        self._lexicon = lexicon
        super().__init__(**options)

    def get_model(self, force_reload: bool) -> Any:
        """Return the lexicon."""
        return self._lexicon

    def can_change(self, word: str) -> bool:
        """Return whether the lexicon has the word."""
        return bool(self.model.predict(word))


class Lexicon:
    """Misspellings by word; what nlpaug asks is `predict`."""

    def __init__(self, misspellings: dict[str, list[str]]) -> None:
        self.misspellings = misspellings
        self.predict = lru_cache(CACHED_WORDS)(self._predict)

    def _predict(self, word: str) -> list[str]:
        """Return the misspellings of a word, in its capitals.

        >>> lexicon = Lexicon({"fire": ["fier"]})
        >>> lexicon.predict("fire"), lexicon.predict("Fire"), lexicon.predict("FIRE"), lexicon.predict("ice")
        (['fier'], ['Fier'], ['FIER'], [])
        """
        word = str(word)
        if word in self.misspellings:
            return self.misspellings[word]
        is_upper = len(word) > 1 and word.isupper()
        lowered = self.misspellings.get(word.lower(), [])
        cased = [wrong.upper() if is_upper else wrong[:1].upper() + wrong[1:] for wrong in lowered]
        return [wrong for wrong in dict.fromkeys(cased) if wrong != word]


def build(*, lexicon: Name | None = None, word_ratio: Share = 0.1, max_words: PositiveInt = 10) -> Augmenter:
    """Return the augmenter; see `word_amount` for how many words it changes.

    Args:
        lexicon: a file of lines `word misspelling misspelling...`, for any language; None for nlpaug's English one.

    Raises:
        ParamsError: if the file is missing, naming the line if one is broken.
    """
    amounts = word_amount(word_ratio, max_words)
    misspellings = english() if lexicon is None else read_misspellings(Path(lexicon))
    return per_text(Misspellings, lexicon=Lexicon(misspellings), **amounts)


def read_misspellings(path: Path) -> dict[str, list[str]]:
    """Return the misspellings of each word, in the order of the file."""
    misspellings: dict[str, dict[str, None]] = {}
    for number, fields in lexicon_lines(path):
        if len(fields) < 2:
            raise broken(path, number, "a word and its misspellings between blanks", fields)
        misspellings.setdefault(fields[0], {}).update(
            dict.fromkeys(wrong for wrong in fields[1:] if wrong != fields[0])
        )
    return {word: list(others) for word, others in misspellings.items() if others}


@cache
def english() -> dict[str, list[str]]:
    """Return nlpaug's lexicon without the numbers and the marks of annotators that stand in it, such as `[[then`."""
    whole = read_misspellings(Path(LibraryUtil.get_res_dir()) / "word" / "spelling" / "spelling_en.txt")
    plain = {word: list(filter(PLAIN.fullmatch, others)) for word, others in whole.items() if PLAIN.fullmatch(word)}
    return {word: others for word, others in plain.items() if others}
