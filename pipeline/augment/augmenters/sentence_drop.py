"""Leaves sentences out; a text of one sentence has no variant, and a sentence with a reserved term stays.

Source: EDA's random deletion, Wei and Zou, 2019, https://arxiv.org/abs/1901.11196, over sentences instead of words.
nlpaug has none: `pipeline/augment/rewriting/sentence_rewriting.py` puts it behind its interface.
"""

import random

from pipeline.augment.rewriting.sentence_rewriting import free_pieces, per_text
from pipeline.contracts import Augmenter
from pipeline.ranges import Share
from pipeline.text.sentences import split_sentences

LIBRARIES = ("nlpaug",)  # its version stands in the recipe


def build(*, sentence_ratio: Share = 0.3) -> Augmenter:
    """Return the augmenter.

    Args:
        sentence_ratio: share of a text's sentences to leave out, one at least; those that are left hold a word.
    """

    def drop(text: str, terms: frozenset[str]) -> str | None:
        sentences = split_sentences(text)
        free = free_pieces(sentences, terms)
        n_dropped = min(len(free), max(1, round(sentence_ratio * len(sentences))), len(sentences) - 1)
        dropped = set(random.sample(free, max(0, n_dropped)))
        left = "".join(sentence for position, sentence in enumerate(sentences) if position not in dropped).strip()
        return left if dropped and any(map(str.isalnum, left)) else None

    return per_text(drop, name="sentence_drop", action="delete")
