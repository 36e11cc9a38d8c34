"""Errors of optical character recognition: `O` for `0`, `l` for `1` and the like.

Source: nlpaug's OcrAug and its table of digits and Latin letters. Chinese characters: see `look_alikes`.
"""

from nlpaug.augmenter.char import OcrAug

from pipeline.augment.rewriting.character_noise import CharacterMap, noise_amounts, per_text
from pipeline.contracts import Augmenter
from pipeline.ranges import PositiveInt, Share

SPARES = True


class Ocr(CharacterMap, OcrAug):
    """nlpaug's augmenter, with its table or with one given as `dict_of_path`."""


def build(
    *,
    word_ratio: Share = 0.1,
    max_words: PositiveInt = 10,
    character_ratio: Share = 0.1,
    max_characters: PositiveInt = 2,
) -> Augmenter:
    """Return the augmenter; see `noise_amounts` for how much it changes."""
    return per_text(Ocr, **noise_amounts(word_ratio, max_words, character_ratio, max_characters))
