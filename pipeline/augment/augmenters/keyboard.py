"""Typing errors: letters replaced by their neighbours on the keyboard.

Source: nlpaug's KeyboardAug, after Belinkov and Bisk, Synthetic and Natural Noise Both Break Neural Machine Translation,
2018, https://arxiv.org/abs/1711.02173. Differs from nlpaug: a neighbour keeps the case, and a letter does not become a sign
or digit unless asked. Chinese is typed by sound: for its typing errors see `homophones`.
"""

from typing import Any, Literal

from nlpaug.augmenter.char import KeyboardAug

from pipeline.augment.rewriting.character_noise import CharacterMap, noise_amounts, per_text
from pipeline.contracts import Augmenter
from pipeline.ranges import PositiveInt, Share

SPARES = True


class Keyboard(CharacterMap, KeyboardAug):
    """nlpaug's augmenter with the neighbours that `signs` and `digits` let through."""

    def __init__(self, *, signs: bool, digits: bool, **options: Any) -> None:
        super().__init__(**options)
        # nlpaug's own switches keep only a to z, which leaves other alphabets nothing.
        self.model.model = neighbours(self.model.model, signs=signs, digits=digits)


def neighbours(mapping: dict[str, list[str]], *, signs: bool, digits: bool) -> dict[str, list[str]]:
    """Return the keys and neighbours of a kind that is wanted; a letter's neighbouring letters have its case.

    >>> neighbours({"a": ["S", "s", "1", "#", " t"], "A": ["S", "s"], "#": ["e"]}, signs=False, digits=True)
    {'a': ['s', '1'], 'A': ['S']}
    """

    def is_wanted(key: str) -> bool:
        return len(key) == 1 and (key.isalpha() or (digits if key.isdigit() else signs))

    def is_near(key: str, other: str) -> bool:
        return is_wanted(other) and (key.isupper() == other.isupper() or not (key + other).isalpha())

    kept = {key: [near for near in others if is_near(key, near)] for key, others in mapping.items() if is_wanted(key)}
    return {key: others for key, others in kept.items() if others}


def build(
    *,
    word_ratio: Share = 0.1,
    max_words: PositiveInt = 10,
    character_ratio: Share = 0.1,
    max_characters: PositiveInt = 2,
    min_word_length: PositiveInt = 4,
    layout: Literal["en", "de", "es", "fr", "he", "it", "nl", "pl", "th", "tr", "uk"] = "en",
    signs: bool = False,
    digits: bool = False,
) -> Augmenter:
    """Return the augmenter, for texts in the letters of one keyboard layout; see `noise_amounts` for how much it changes.

    Args:
        min_word_length: shorter words stay as they are.
        layout: nlpaug's name of the keyboard.
        signs: whether signs such as `#` are hit, too.
        digits: whether digits are hit, too.
    """
    amounts = noise_amounts(word_ratio, max_words, character_ratio, max_characters)
    return per_text(Keyboard, signs=signs, digits=digits, lang=layout, min_char=min_word_length, **amounts)
