"""Full-width letters, digits and signs for half-width ones, as in Ａ１！ for A1!, and the other way round.

Source: own, behind nlpaug's CharAugmenter; Unicode's full-width forms, https://www.unicode.org/charts/PDF/UFF00.pdf. nlpaug
lacks it. One form stands for one other, so that a way there and back gives the text again; 。 and 、 have no ASCII form.
"""

from typing import Any, Literal

from nlpaug.augmenter.char import CharAugmenter
from nlpaug.util import Action

from pipeline.augment.rewriting.character_noise import WordByWord, per_text, word_amount
from pipeline.augment.rewriting.spans import is_word
from pipeline.contracts import Augmenter
from pipeline.ranges import PositiveInt, Share

SPARES = True
TO_FULL = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
TO_HALF = {full: half for half, full in TO_FULL.items()}
TABLES = {"full": TO_FULL, "half": TO_HALF, "random": TO_FULL | TO_HALF}


class Width(WordByWord, CharAugmenter):
    """Writes words and signs in their other width."""

    def __init__(self, table: dict[int, int], **options: Any) -> None:
        super().__init__(action=Action.SUBSTITUTE, name="Width_Aug", min_char=1, **options)
        self.table = table

    def can_change(self, word: str) -> bool:
        """Return whether a character of the word has another width."""
        return not self.table.keys().isdisjoint(map(ord, word))

    def is_spared(self, word: str) -> bool:
        """Return whether the word is reserved, a link or a user's name; signs are changed, too."""
        return word in self.stopwords.terms or not (len(word) == 1 or is_word(word))

    def substitute(self, data: str) -> str:
        """Return a word in its other width."""
        return data.translate(self.table)


def build(
    *, direction: Literal["full", "half", "random"] = "random", word_ratio: Share = 0.1, max_words: PositiveInt = 10
) -> Augmenter:
    """Return the augmenter; see `word_amount` for how many words it changes.

    Args:
        direction: to full width, to half width, or `random`: each word that is drawn to the width that it does not have.
    """
    amounts = word_amount(word_ratio, max_words)
    return per_text(Width, table=TABLES[direction], **amounts)
