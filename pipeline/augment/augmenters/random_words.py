"""Random words swapped with their neighbours, deleted, cut out in one run, or replaced by words of the corpus.

Source: Wei and Zou, EDA, 2019, https://arxiv.org/abs/1901.11196 (swap, delete); Xie et al., Data Noising as Smoothing, 2017,
https://arxiv.org/abs/1703.02573 (words replaced by others, as often as the corpus has them). nlpaug's RandomWordAug with
steps of our own: its swap moves and re-cases reserved words, its crop takes them and fails on short texts (ValueError).
"""

import random
from typing import Any, Literal

from nlpaug.augmenter.word import RandomWordAug

from pipeline.augment.rewriting.character_noise import per_text
from pipeline.augment.rewriting.spans import Word, is_word
from pipeline.augment.rewriting.word_substitution import Draw, amounts, changeable, count_words, kept_whole, replaced
from pipeline.contracts import Augmenter, Corpus
from pipeline.ranges import PositiveInt, Share

SPARES = True
ACTIONS = ("swap", "delete", "crop", "substitute")


class RandomWords(RandomWordAug):
    """nlpaug's augmenter over words that keep the blanks before them; reserved terms neither move nor change."""

    def __init__(self, *, draw: Draw | None, word_ratio: float, max_words: int, **options: Any) -> None:
        super().__init__(**amounts(word_ratio, max_words), **options)
        self.draw = draw

    def _cut(self, data: str) -> tuple[list[Word], list[int]]:
        words = self.tokenizer(data)
        return words, changeable(self, words)

    def swap(self, data: str) -> str:
        """Return the text with words in the places of the next ones that may move."""
        words, positions = self._cut(data)
        moved = words.copy()
        for _ in range(self.generate_aug_cnt(len(positions)) if len(positions) > 1 else 0):
            first = random.randrange(len(positions) - 1)
            a, b = positions[first], positions[first + 1]
            moved[a], moved[b] = Word(moved[b], moved[a].glue), Word(moved[a], moved[b].glue)
        return self._begun_alike(moved, words)

    def delete(self, data: str) -> str:
        """Return the text without some words; one at least stays."""
        words, positions = self._cut(data)
        n_gone = self.generate_aug_cnt(len(positions))
        if n_gone == len(positions) == sum(map(is_word, words)):
            n_gone = max(0, n_gone - 1)
        return self._without(words, set(self.sample(positions, n_gone)))

    def crop(self, data: str) -> str:
        """Return the text without a run of words; one at least stays, and so do reserved terms."""
        words, positions = self._cut(data)
        reserved = self.stopwords.terms
        known = [position for position, word in enumerate(words) if is_word(word)]
        for length in range(self.generate_aug_cnt(len(positions)), 0, -1):
            runs = zip(positions, positions[length - 1 :], strict=False)
            shorter = [range(a, b + 1) for a, b in runs if (a, b) != (known[0], known[-1])]
            free = [run for run in shorter if reserved.isdisjoint(words[run.start : run.stop])]
            if free:
                return self._without(words, set(random.choice(free)))
        return data

    def substitute(self, data: str) -> str:
        """Return the text with some words replaced by words of the corpus."""
        words, positions = self._cut(data)
        for position in self.sample(positions, self.generate_aug_cnt(len(positions))):
            for new in self.draw(words[position]) if self.draw else ():
                words[position] = replaced(words[position], new)
        return kept_whole(words)

    def _without(self, words: list[Word], gone: set[int]) -> str:
        return self._begun_alike([word for position, word in enumerate(words) if position not in gone], words)

    def _begun_alike(self, words: list[Word], before: list[Word]) -> str:
        """Return the text of words; it begins with a capital if the words before did, as far as that may change."""
        begun = before[0][0].isupper() and not before[0][1:].isupper()
        if begun and words[0].islower() and words[0] not in self.stopwords:
            words[0] = Word(words[0][0].upper() + words[0][1:], "")
        return kept_whole(words)


def build(
    *,
    corpus: Corpus,
    action: Literal["swap", "delete", "crop", "substitute"] = "swap",
    word_ratio: Share = 0.1,
    max_words: PositiveInt = 10,
) -> Augmenter:
    """Return the augmenter; see `word_substitution.amounts` for how many words it changes.

    Args:
        corpus: read only by `substitute`: its words are written, common ones more often.
        action: what happens to words.
    """
    draw = Draw(count_words(corpus.texts)[0]) if action == "substitute" else None
    return per_text(RandomWords, action=action, draw=draw, word_ratio=word_ratio, max_words=max_words)
