"""Characters replaced by others that look alike, such as 己 by 已.

Source: nlpaug's OcrAug, which is given a confusion file instead of its own table. nlpaug has none for Chinese; public ones
exist, such as https://github.com/contr4l/SimilarCharacter.
"""

from pathlib import Path

from pipeline.augment.augmenters.ocr import Ocr
from pipeline.augment.rewriting.character_noise import noise_amounts, per_text
from pipeline.augment.rewriting.lexicons import read_confusions
from pipeline.contracts import Augmenter
from pipeline.errors.exceptions import ParamsError
from pipeline.ranges import Name, PositiveInt, Share

SPARES = True
FILES = ("lexicon",)


def build(
    *, lexicon: Name = "",
    word_ratio: Share = 0.1, max_words: PositiveInt = 10, character_ratio: Share = 0.1, max_characters: PositiveInt = 2,
) -> Augmenter:  # fmt: skip
    """Return the augmenter. Two characters are taken for each other whichever of them the file names first.

    See `noise_amounts` for how much it changes.

    Args:
        lexicon: the confusion file (see `lexicons.read_confusions`).

    Raises:
        ParamsError: if there is no such file, naming the line if one is broken.
    """
    amounts = noise_amounts(word_ratio, max_words, character_ratio, max_characters)
    confusions = read_confusions(Path(lexicon))
    if not confusions:
        raise ParamsError(f"{lexicon}: must name characters that look alike, got none. Get the file again.")
    return per_text(Ocr, dict_of_path=confusions, **amounts)
