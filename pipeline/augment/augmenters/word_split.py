"""Words split in two by a blank, as in hasty typing; Chinese, which is written without blanks, stays.

Source: nlpaug's SplitAug, https://github.com/makcedward/nlpaug. Differs from nlpaug: links and names of users stay whole.
"""

import random
from itertools import accumulate
from typing import Annotated, Any

from nlpaug.augmenter.word import SplitAug
from pydantic import Field

from pipeline.augment.rewriting.character_noise import per_text
from pipeline.augment.rewriting.spans import Word, joined
from pipeline.augment.rewriting.word_substitution import amounts, changeable
from pipeline.contracts import Augmenter
from pipeline.ranges import PositiveInt, Share
from pipeline.text.words import IS_HAN, clusters

SPARES = True


class WordSplit(SplitAug):
    """nlpaug's augmenter over words that keep the blanks before them."""

    def __init__(self, *, word_ratio: float, max_words: int, **options: Any) -> None:
        super().__init__(**amounts(word_ratio, max_words), **options)

    def split(self, data: str) -> str:
        """Return the text with some of its long words split; each part has a letter at least."""
        words: list[Word] = self.tokenizer(data)
        long = [i for i in changeable(self, words) if self._is_long(words[i])]
        for position in sorted(self.sample(long, self.generate_aug_cnt(len(long))), reverse=True):
            word = words[position]
            ends = list(accumulate(map(len, clusters(word))))[:-1]
            at = random.choice(ends[0 if word[0].isalnum() else 1 :])  # the sign of a #topic stays with it
            words[position : position + 1] = Word(word[:at], word.glue), Word(word[at:], " ")
        return joined(words)

    def _is_long(self, word: str) -> bool:
        return not IS_HAN.search(word) and len(clusters(word)) >= self.min_char


def build(
    *, min_word_length: Annotated[int, Field(ge=3)] = 4, word_ratio: Share = 0.1, max_words: PositiveInt = 10
) -> Augmenter:
    """Return the augmenter; see `word_substitution.amounts` for how many words it splits.

    Args:
        min_word_length: shorter words stay whole.
    """
    return per_text(WordSplit, min_char=min_word_length, word_ratio=word_ratio, max_words=max_words)
