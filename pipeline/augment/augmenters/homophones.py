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
    count_characters,
    noise_amounts,
    per_text,
    weighted,
)
from pipeline.augment.rewriting.lexicons import read_confusions
from pipeline.contracts import Augmenter, Corpus
from pipeline.errors.exceptions import ParamsError
from pipeline.ranges import Name, PositiveInt, Share
from pipeline.text.words import IS_HAN

SPARES = True
LIBRARIES = ("pypinyin",)
FILES = ("lexicon",)
NOT_BOTH = ("lexicon", "tone")  # a lexicon says itself what sounds alike


class Homophones(CharacterMap, OcrAug):
    """nlpaug's augmenter with a map of characters that are drawn by their weights."""

    @classmethod
    def get_model(cls, dict_of_path: Mapping[str, Weighted]) -> Any:
        """Return the map."""
        return WeightedCharacters(dict_of_path)


def build(
    *, corpus: Corpus, lexicon: Name | None = None, tone: bool = False,
    word_ratio: Share = 0.1, max_words: PositiveInt = 10, character_ratio: Share = 0.1, max_characters: PositiveInt = 2,
) -> Augmenter:  # fmt: skip
    """Return the augmenter; see `noise_amounts` for how much it changes.

    Args:
        corpus: holds the characters that are written, and how common they are.
        lexicon: the confusion file (see `lexicons.read_confusions`); None for the most usual pinyin of each character.
        tone: whether the tone must be the same, too; only without a lexicon.

    Raises:
        ParamsError: if the file is missing, naming the line if one is broken.
    """
    amounts = noise_amounts(word_ratio, max_words, character_ratio, max_characters)
    counts = count_characters(corpus.texts)
    if lexicon is None:
        confusions = same_pinyin(filter(IS_HAN.match, counts), tone=tone)
    else:
        confusions = read_confusions(Path(lexicon))
    # Nobody types what the corpus does not hold.
    written = {
        like: {other: counts[other] for other in others if other in counts} for like, others in confusions.items()
    }
    mapping = {character: weighted(others) for character, others in written.items() if others}
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
        problem = "homophones: pypinyin is not installed. `pip install pypinyin`, or give `lexicon`."
        raise ParamsError(problem) from error
    by_sound = defaultdict(list)
    for character in characters:
        for sound in lazy_pinyin(character, style=Style.TONE3 if tone else Style.NORMAL, errors="ignore"):
            by_sound[sound].append(character)
    return {
        character: [other for other in alike if other != character]
        for alike in by_sound.values()
        for character in alike
    }
