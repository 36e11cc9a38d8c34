"""Uninformative words replaced by other uninformative ones; words with a high TF-IDF stay.

Source: Xie et al., Unsupervised Data Augmentation for Consistency Training, 2020, appendix A.2, https://arxiv.org/abs/1904.12848.
nlpaug's TfIdfAug reads its statistics from a folder into a cache that ignores the folder; here the fold's texts give them,
behind nlpaug's WordAugmenter. Differs from the paper: what is written is drawn by its count times how far its IDF lies below
the highest, since the paper's score is lowest for words that occur once, mostly names and misspellings.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipeline.augment.rewriting.character_noise import per_text
from pipeline.augment.rewriting.word_substitution import Draw, Substitution, changeable, count_words
from pipeline.contracts import Augmenter, Corpus
from pipeline.ranges import PositiveInt, Share

SPARES = True


class TfIdf(Substitution):
    """Replaces words drawn by how uninformative they are."""

    def __init__(self, *, texts: Sequence[str], **options: Any) -> None:
        counts, texts_with = count_words(texts)
        self.idf = {word: math.log(len(texts) / n_texts) for word, n_texts in texts_with.items()}
        self.highest = math.log(max(1, len(texts)))
        draw = Draw({word: count * (self.highest - self.idf[word.lower()]) for word, count in counts.items()})
        super().__init__(where="tfidf", replacements=draw, **options)

    def order(self, words: Sequence[str]) -> list[int]:
        """Return the positions of the words below the text's highest TF-IDF, drawn by how far below."""
        positions = changeable(self, words)
        lowered = [words[position].lower() for position in positions]
        counts = Counter(lowered)
        scores = [counts[word] * self.idf.get(word, self.highest) for word in lowered]
        highest = max(scores, default=0.0)
        # The shortest of exponential waiting times come first: draws by weight without putting back.
        waits = [
            (random.expovariate(highest - score), position)
            for score, position in zip(scores, positions, strict=True)
            if score < highest
        ]
        return [position for _, position in sorted(waits)]


def build(*, corpus: Corpus, word_ratio: Share = 0.3, max_words: PositiveInt = 10) -> Augmenter:
    """Return the augmenter; see `word_substitution.amounts` for how many words it replaces.

    Args:
        corpus: gives the frequencies, and the words that are written.
    """
    return per_text(TfIdf, texts=corpus.texts, word_ratio=word_ratio, max_words=max_words)
