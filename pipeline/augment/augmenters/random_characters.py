"""Random characters: one inserted, substituted, swapped with its neighbour or deleted.

Source: nlpaug's RandomCharAug. It draws ASCII letters, digits and signs for any language and leaves words of less than four
characters alone, which are most Chinese ones; here letters are drawn from the corpus, as common as they are there and of the
script of the word that they enter, and Chinese words may be short.
"""

import random
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from nlpaug.augmenter.char import RandomCharAug

from pipeline.augment.rewriting.character_noise import (
    Weighted,
    WordByWord,
    count_characters,
    noise_amounts,
    per_text,
    weighted,
)
from pipeline.contracts import Augmenter, Corpus
from pipeline.ranges import PositiveInt, Share
from pipeline.text.words import clusters

SPARES = True
MIN_LENGTH = 4
CACHED_WORDS = 50_000
CHINESE = "CJK"
ACTIONS = {"insert": 1, "substitute": 1, "swap": 2, "delete": 2}
"""What may be done, and the least length of a Chinese word for it."""


class RandomCharacters(WordByWord, RandomCharAug):
    """nlpaug's augmenter; `model`, from which it draws, is filled anew for each word."""

    def __init__(self, letters: Mapping[str, Weighted], **options: Any) -> None:
        super().__init__(**options)
        self.letters = letters

    def can_change(self, word: str) -> bool:
        """Return whether the word is long enough, and of a script that the corpus knows."""
        script = script_of(word)
        return script in self.letters and len(word) >= (ACTIONS[self.action] if script == CHINESE else MIN_LENGTH)

    def skip_aug(self, token_idxes: list[int], tokens: Sequence[str]) -> list[int]:
        """Return the positions of the letters of a word; those to be swapped have letters on both sides."""
        around = 1 if self.action == "swap" else 0
        return [
            i for i in token_idxes if all(token[0].isalpha() for token in tokens[max(0, i - around) : i + around + 1])
        ]

    def token2char(self, word: str) -> list[str]:  # type: ignore[override]
        """Return the characters of a word, with their marks, for which nlpaug draws next."""
        letters, sums = self.letters[script_of(word) or ""]
        drawn = random.choices(letters, cum_weights=sums, k=len(word))
        self.model = [letter.upper() for letter in drawn] if word.isupper() else drawn
        return clusters(word)


@lru_cache(CACHED_WORDS)
def script_of(word: str) -> str | None:
    """Return the script of the first letter, or None.

    >>> [script_of(word) for word in ("#fire", "好", "пожар", "2015")]
    ['LATIN', 'CJK', 'CYRILLIC', None]
    """
    letter = next(filter(str.isalpha, word), None)
    return None if letter is None else unicodedata.name(letter, "UNKNOWN").split()[0]


def build(
    *, corpus: Corpus, action: Literal["insert", "substitute", "swap", "delete"] = "substitute",
    word_ratio: Share = 0.1, max_words: PositiveInt = 10, character_ratio: Share = 0.1, max_characters: PositiveInt = 2,
) -> Augmenter:  # fmt: skip
    """Return the augmenter. Words of fewer than four characters stay as they are, but for Chinese ones.

    See `noise_amounts` for how much it changes.

    Args:
        corpus: holds the letters that are drawn, per script.
        action: what is done.
    """
    amounts = noise_amounts(word_ratio, max_words, character_ratio, max_characters)
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for letter, count in count_characters(map(str.lower, corpus.texts)).items():
        counts[script_of(letter) or ""][letter] = count
    letters = {script: weighted(of_script) for script, of_script in counts.items() if script}
    return per_text(RandomCharacters, letters=letters, action=action, **amounts)
