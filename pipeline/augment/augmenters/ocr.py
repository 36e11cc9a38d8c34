"""Errors of optical character recognition: `O` for `0`, `l` for `1` and the like.

Source: nlpaug's OcrAug and its table of digits and Latin letters. Chinese characters: see `look_alikes`.
"""

from nlpaug.augmenter.char import OcrAug

from pipeline.augment.rewriting.character_noise import CharacterMap, character_amount, per_text, word_amount
from pipeline.contracts import Augmenter

SPARES = True


class Ocr(CharacterMap, OcrAug):
    """nlpaug's augmenter, with its table or with one given as `dict_of_path`."""


def build(
    *,
    word_ratio: float = 0.1,
    max_words: int = 10,
    character_ratio: float = 0.1,
    max_characters: int = 2,
) -> Augmenter:
    """Return the augmenter.

    Args:
        word_ratio: share of a text's words that are changed, in (0, 1], rounded up.
        max_words: at most so many words per text.
        character_ratio: share of a word's characters that are changed, in (0, 1], rounded up.
        max_characters: at most so many characters per word.
    """
    amounts = {
        **word_amount("ocr", word_ratio=word_ratio, max_words=max_words),
        **character_amount("ocr", character_ratio=character_ratio, max_characters=max_characters),
    }
    return per_text(Ocr, **amounts)
