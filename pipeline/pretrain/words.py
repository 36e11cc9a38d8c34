"""The words of texts that are masked whole."""

from typing import Literal

from pipeline.pretrain.pretext import Span
from pipeline.text.words import IS_HAN, is_mainly_unspaced, word_spans


def words_of(text: str, *, kind: Literal["auto", "jieba", "blank", "character"]) -> list[Span]:
    """Return [start, end) of each word: by jieba, by blanks and signs, or each character.

    `auto` takes jieba for a text with Chinese in it, characters where no blanks are written otherwise, as in Thai.

    >>> [(text[start:end]) for text in ["don't go", "去公园 ok"] for start, end in words_of(text, kind="auto")]
    ["don't", 'go', '去', '公园', 'ok']
    """
    if kind == "auto":
        unspaced = is_mainly_unspaced([text])
        kind = "character" if unspaced else "jieba" if IS_HAN.search(text) else "blank"
    return word_spans(text, kind)
