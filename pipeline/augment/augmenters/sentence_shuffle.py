"""Puts the sentences of a text in another order.

Source: nlpaug's RandomSentAug, https://github.com/makcedward/nlpaug, which cuts sentences with NLTK's Punkt: its model
cannot be had offline and knows no Chinese, so `pipeline/text/sentences.py` cuts them and nlpaug's interface stays.
"""

import random
import re
from typing import Literal

from pipeline.augment.rewriting.sentence_rewriting import per_text, piece_spans
from pipeline.augment.rewriting.spans import term_spans
from pipeline.contracts import Augmenter
from pipeline.ranges import Share
from pipeline.text.sentences import split_sentences

LIBRARIES = ("nlpaug",)  # its version stands in the recipe
# After these the next sentence needs no blank.
WIDE_END = re.compile(r"[。！？；｡…”’」』）】》〉]\Z")


def build(*, mode: Literal["neighbours", "all"] = "neighbours", sentence_ratio: Share = 0.3) -> Augmenter:
    """Return the augmenter.

    Args:
        mode: `neighbours` swaps sentences that follow one another, `all` draws any order.
        sentence_ratio: for `neighbours`, how many swaps per sentence, one at least.
    """

    def shuffle(text: str, terms: frozenset[str]) -> str | None:
        sentences = movable(text, terms)
        if len(sentences) < 2:
            return None
        order = list(range(len(sentences)))
        if mode == "all":
            random.shuffle(order)
        else:
            for _ in range(max(1, round(sentence_ratio * len(order)))):
                first = random.randrange(len(order) - 1)
                order[first], order[first + 1] = order[first + 1], order[first]
        return reorder(sentences, order)

    return per_text(shuffle, name="sentence_shuffle", action="swap")


def movable(text: str, terms: frozenset[str]) -> list[str]:
    """Return the sentences of a text, those through which a term runs as one.

    >>> movable("Hi. Saw Mad Max! Fury Road. Bye.", frozenset({"max! fury road"}))
    ['Hi. ', 'Saw Mad Max! Fury Road. ', 'Bye.']
    """
    joined: list[str] = []
    sentences = split_sentences(text)
    kept = list(term_spans(text, terms))
    for sentence, (start, _) in zip(sentences, piece_spans(sentences), strict=True):
        if joined and any(a < start < b for a, b in kept):
            joined[-1] += sentence
        else:
            joined.append(sentence)
    return joined


def reorder(sentences: list[str], order: list[int]) -> str:
    """Return the text of sentences in another order; the blanks between them, and the line ends, stay where they were.

    >>> reorder(["Run. ", "It burns.\\n", "是吗"], [2, 0, 1]), reorder(["好。", "走吧"], [1, 0])
    ('是吗 Run.\\nIt burns.', '走吧 好。')
    """
    bare = [sentence.rstrip() for sentence in sentences]
    text = ""
    for position, moved in enumerate(order):
        blank = sentences[position][len(bare[position]) :]
        is_last = position == len(order) - 1
        text += bare[moved] + ("" if is_last else blank or ("" if WIDE_END.search(bare[moved]) else " "))
    return text.strip()
