"""Chinese characters replaced by others of the same sound, as typed by mistake with a pinyin keyboard.

Source: own, behind nlpaug's OcrAug, which has no Chinese table; the sounds are those of a confusion file or of pypinyin,
https://github.com/mozillazg/python-pinyin. Only characters that the corpus holds are written, common ones more often: nobody
types the rare.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nlpaug.augmenter.char import OcrAug

from pipeline.augment.rewriting.character_noise import (
    CharacterMap,
    Weighted,
    WeightedCharacters,
    character_amount,
    count_characters,
    per_text,
    weighted,
    word_amount,
)
from pipeline.augment.rewriting.lexicons import read_confusions
from pipeline.contracts import Augmenter, Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.text.words import IS_HAN

SPARES = True
LIBRARIES = ("pypinyin",)
FILES = ("lexicon",)


class Homophones(CharacterMap, OcrAug):
    """nlpaug's augmenter with a map of characters that are drawn by their weights."""

    @classmethod
    def get_model(cls, dict_of_path: Mapping[str, Weighted]) -> Any:
        """Return the map."""
        return WeightedCharacters(dict_of_path)


def build(
    *,
    corpus: Corpus,
    lexicon: str | None = None,
    tone: bool = False,
    word_ratio: float = 0.1,
    max_words: int = 10,
    character_ratio: float = 0.1,
    max_characters: int = 2,
) -> Augmenter:
    """Return the augmenter.

    Args:
        corpus: holds the characters that are written, and how common they are.
        lexicon: the confusion file (see `lexicons.read_confusions`); None for the most usual pinyin of each character.
        tone: whether the tone must be the same, too; only without a lexicon.
        word_ratio: share of a text's words that are changed, in (0, 1], rounded up.
        max_words: at most so many words per text.
        character_ratio: share of a word's characters that are changed, in (0, 1], rounded up.
        max_characters: at most so many characters per word.

    Raises:
        ParamsError: if the file is missing, naming the line if one is broken.
    """
    amounts = {
        **word_amount("homophones", word_ratio=word_ratio, max_words=max_words),
        **character_amount("homophones", character_ratio=character_ratio, max_characters=max_characters),
    }
    if lexicon is not None and tone:
        raise ParamsError("homophones.tone: a lexicon says itself what sounds alike, got both. Remove one.")
    counts = count_characters(corpus.texts)
    confusions = (
        same_pinyin(filter(IS_HAN.match, counts), tone=tone) if lexicon is None else read_confusions(Path(lexicon))
    )
    seen = {
        character: {other: counts[other] for other in others if other in counts}
        for character, others in confusions.items()
    }
    mapping = {character: weighted(others) for character, others in seen.items() if others}
    return per_text(Homophones, dict_of_path=mapping, **amounts)


def same_pinyin(characters: Iterable[str], *, tone: bool = False) -> dict[str, list[str]]:
    """Return for each Chinese character the others of the same pinyin, with the same tone or any.

    >>> same_pinyin("他她它踏好")["她"]
    ['他', '它', '踏']
    >>> same_pinyin("他她它踏好", tone=True)["她"]
    ['他', '它']
    """
    try:
        from pypinyin import Style, lazy_pinyin
    except ImportError as error:
        raise ParamsError(
            "homophones: pypinyin is not installed. `pip install pypinyin`, or give `lexicon`."
        ) from error

    by_sound = defaultdict(list)
    for character in characters:
        for sound in lazy_pinyin(character, style=Style.TONE3 if tone else Style.NORMAL, errors="ignore"):
            by_sound[sound].append(character)
    return {one: [other for other in alike if other != one] for alike in by_sound.values() for one in alike}
