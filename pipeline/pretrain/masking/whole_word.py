"""A word is masked whole, Chinese ones as jieba finds them.

Source: Cui et al., Pre-Training with Whole Word Masking for Chinese BERT, 2019, https://arxiv.org/abs/1906.08101
"""

from functools import partial
from typing import Literal

from pipeline.pretrain.pretext import Masking
from pipeline.pretrain.words import words_of


def build(*, words: Literal["auto", "jieba", "blank", "character"] = "auto") -> Masking:
    """Return it; `words` says how texts are cut, see `words_of`."""
    return Masking(partial(words_of, kind=words))
