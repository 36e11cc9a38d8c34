"""Phrases and names of a list are masked whole, other words one by one.

Source: Sun et al., ERNIE, 2019, section 3.2 (phrase and entity masking), https://arxiv.org/abs/1904.09223
"""

from functools import partial
from pathlib import Path
from typing import Literal

from pipeline.errors.exceptions import ParamsError
from pipeline.pretrain.pretext import Masking
from pipeline.pretrain.words import phrase_pattern, phrases_of
from pipeline.ranges import Name

FILES = ("path",)


def build(*, path: Name = "", words: Literal["auto", "jieba", "blank", "character"] = "auto") -> Masking:
    """Return it.

    Args:
        path: a file in models/, one phrase a line, in UTF-8; letters match in either case.
        words: how the rest is cut, see `words_of`.

    Raises:
        ParamsError: if the file names no phrase, or is not text.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ParamsError(f"phrases.path: {path} must be text in UTF-8, got {error}. Convert it.") from error
    phrases = sorted({line.strip() for line in lines} - {""})
    if not phrases:
        raise ParamsError(f"phrases.path: {path} must name phrases, one a line, got none. Add some.")
    return Masking(partial(phrases_of, pattern=phrase_pattern(phrases), kind=words))
