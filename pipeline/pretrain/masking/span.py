"""Spans of words are masked, their lengths drawn from a geometric distribution: 3.8 words on average.

Source: Joshi et al., SpanBERT, 2020, section 3.1 (p = 0.2, at most 10), https://arxiv.org/abs/1907.10529
Differs from the paper: see `masks` for how spans are drawn, and each token is replaced by itself.
"""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from pipeline.pretrain.masks import survival_of
from pipeline.pretrain.pretext import Masking
from pipeline.pretrain.words import words_of


def build(
    *,
    p: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    max_words: Annotated[int, Field(ge=1, le=50)] = 10,
    words: Literal["auto", "jieba", "blank", "character"] = "auto",
) -> Masking:
    """Return it.

    Args:
        p: of the geometric distribution.
        max_words: the longest span; the lengths up to it keep their proportions.
        words: how texts are cut, see `words_of`.
    """
    return Masking(partial(words_of, kind=words), survival_of([(1 - p) ** n for n in range(max_words)]))
