"""Character noise: how much of a text nlpaug changes, in which words it can, and by which characters.

Source: nlpaug's CharAugmenter, https://github.com/makcedward/nlpaug. It draws words first and asks afterwards whether they
hold a character that can be changed; here only such words are drawn.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

from nlpaug.model.char import Character
from nlpaug.util import Method

from pipeline.augment.rewriting.spans import Cutter, PerText

Weighted = tuple[list[str], list[int]]
"""Characters, and their counts summed up to each of them."""


class WordByWord:
    """Stands before an nlpaug augmenter in a class: hands it, one by one, words that were drawn among those it can change.

    nlpaug given a whole text makes three objects for each of its words, which took a quarter of the time.
    """

    action: str
    stopwords: Any
    sample: Any
    _generate_aug_cnt: Any

    def __init__(
        self, *, tokenizer: Callable[[str], Sequence[str]], reverse_tokenizer: Callable[[Sequence[str]], str],
        aug_word_p: float, aug_word_min: int, aug_word_max: int, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(tokenizer=lambda word: [word], reverse_tokenizer="".join, **options)  # type: ignore[call-arg]
        self.cut, self.join = tokenizer, reverse_tokenizer
        self.aug_word_p, self.aug_word_min, self.aug_word_max = aug_word_p, aug_word_min, aug_word_max

    def can_change(self, word: str) -> bool:
        """Return whether the augmenter has anything for the word."""
        raise NotImplementedError

    def is_spared(self, word: str) -> bool:
        """Return whether the word is reserved, or no word but a sign, a link or a user's name."""
        return word in self.stopwords

    def augment(self, data: str) -> list[str]:
        """Return one text with at least one word changed, or none."""
        words = list(self.cut(data.strip()))
        fit = [i for i, word in enumerate(words) if self.can_change(word) and not self.is_spared(word)]
        n_wanted = self._generate_aug_cnt(len(words), self.aug_word_min, self.aug_word_max, self.aug_word_p)
        change = getattr(self, self.action)  # such as `substitute`
        for position in self.sample(fit, min(len(fit), n_wanted)):
            words[position] = change(words[position])
        return [self.join(words)] if fit else []

    def _get_aug_idxes(self, tokens: list[str], *amount: Any) -> list[int]:
        """Return the positions of the characters to be changed, drawn; that of the word, which was drawn already."""
        return super()._get_aug_idxes(tokens, *amount) if Method.CHAR in amount else [0]  # type: ignore[misc]


class CharacterMap(WordByWord):
    """The same for an nlpaug augmenter with a map of characters, `model.model`."""

    model: Any
    min_char: int

    def can_change(self, word: str) -> bool:
        """Return whether the word is long enough and has a character of the map."""
        return len(word) >= self.min_char and not self.model.model.keys().isdisjoint(word)

    def skip_aug(self, token_idxes: list[int], tokens: Sequence[str]) -> list[int]:
        """Return the positions of the characters that stand in the map."""
        return [position for position in token_idxes if tokens[position] in self.model.model]


def per_text(make: Callable[..., Any], **options: Any) -> PerText:
    """Return an nlpaug augmenter that cuts texts of any language into words, as an `Augmenter`."""
    cutter = Cutter()
    return PerText(make(tokenizer=cutter.cut, reverse_tokenizer=cutter.join, **options), cutter)


def word_amount(word_ratio: float, max_words: int) -> dict[str, Any]:
    """Return nlpaug's arguments for the share of a text's words that is changed, rounded up: one to `max_words` of them."""
    return {"aug_word_p": word_ratio, "aug_word_min": 1, "aug_word_max": max_words}


def noise_amounts(word_ratio: float, max_words: int, character_ratio: float, max_characters: int) -> dict[str, Any]:
    """Return nlpaug's arguments for the shares of a text's words, and of their characters, likewise."""
    amounts = word_amount(word_ratio, max_words)
    return amounts | {"aug_char_p": character_ratio, "aug_char_min": 1, "aug_char_max": max_characters}


class WeightedCharacters(Character):
    """A map of characters for nlpaug, from which those that stand for a character are drawn by their weights."""

    def __init__(self, mapping: Mapping[str, Weighted]) -> None:
        super().__init__()
        self.model = mapping

    def predict(self, data: str) -> list[str]:
        """Return one character to stand for another, drawn."""
        characters, sums = self.model[data]
        return random.choices(characters, cum_weights=sums)


def weighted(counts: Mapping[str, int]) -> Weighted:
    """Return characters and the sums of their counts, in an order that does not depend on the corpus's.

    >>> weighted({"b": 1, "a": 3})
    (['a', 'b'], [3, 4])
    """
    ordered = sorted(counts)
    return ordered, list(accumulate(counts[character] for character in ordered))


def count_characters(texts: Iterable[str]) -> Counter[str]:
    """Return how often each character occurs in the texts."""
    return Counter(chain.from_iterable(texts))
