"""Runs of one to some words are masked together.

Source: Xiao et al., ERNIE-Gram, 2021, section 3.2, https://arxiv.org/abs/2010.12148; Cui et al., MacBERT, 2020, section 3.1
(40, 30, 20 and 10 % of one to four words: `decreasing` with `max_n: 4`), https://arxiv.org/abs/2004.13922
Differs from the papers: words in a row, not n-grams of a lexicon; each is predicted token by token. See `masks` for how runs
are drawn.
"""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from pipeline.pretrain.masks import survival_of
from pipeline.pretrain.pretext import Masking
from pipeline.pretrain.words import words_of


def build(
    *,
    max_n: Annotated[int, Field(ge=2, le=10)] = 3,
    lengths: Literal["uniform", "decreasing"] = "uniform",
    words: Literal["auto", "jieba", "blank", "character"] = "auto",
) -> Masking:
    """Return it.

    Args:
        max_n: the longest run, in words.
        lengths: whether each length is as frequent, or a longer one less, in equal steps.
        words: how texts are cut, see `words_of`.
    """
    weights = [1.0 if lengths == "uniform" else float(max_n - n) for n in range(max_n)]
    return Masking(partial(words_of, kind=words), survival_of(weights))
