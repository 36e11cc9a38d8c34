"""Simplified Chinese in traditional characters, and the other way round.

Source: OpenCC, https://github.com/BYVoid/OpenCC, which converts whole phrases (头发 to 頭髮, 发展 to 發展), behind nlpaug's
CharAugmenter; nlpaug lacks it. There is one variant per direction, so at most two of a text.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, Literal

from nlpaug.augmenter.char import CharAugmenter
from nlpaug.util import Action

from pipeline.augment.rewriting.character_noise import per_text
from pipeline.augment.rewriting.spans import term_spans
from pipeline.contracts import Augmenter
from pipeline.errors.exceptions import ParamsError

SPARES = True
LIBRARIES = ("OpenCC",)
CACHED_PIECES = 1000
DIRECTIONS = {"to_traditional": ("s2t",), "to_simplified": ("t2s",), "random": ("s2t", "t2s")}


class Script(CharAugmenter):
    """Converts a text but for its reserved terms, in a direction in which that changes something."""

    def __init__(self, converters: Sequence[Callable[[str], str]], **options: Any) -> None:
        super().__init__(action=Action.SUBSTITUTE, name="Script_Aug", min_char=1, **options)
        self.converters = converters

    def substitute(self, data: str) -> str:
        """Return the converted text, or the text itself."""
        made = [text for text in (self._converted(data, convert) for convert in self.converters) if text != data]
        return str(self.sample(made, 1)[0]) if made else data

    def _converted(self, text: str, convert: Callable[[str], str]) -> str:
        pieces, end = [], 0
        for term_start, term_end in term_spans(text, self.stopwords.terms):
            pieces += [convert(text[end:term_start]), text[term_start:term_end]]
            end = term_end
        return "".join([*pieces, convert(text[end:])])


def build(*, direction: Literal["to_traditional", "to_simplified", "random"] = "random") -> Augmenter:
    """Return the augmenter.

    Args:
        direction: where to; `random` draws among those that change the text.

    Raises:
        ParamsError: if OpenCC is not installed.
    """
    converters = [converter(name) for name in DIRECTIONS[direction]]
    return per_text(Script, converters=converters)


@cache
def converter(name: str) -> Callable[[str], str]:
    """Return OpenCC's function of a text, such as `s2t`."""
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise ParamsError("script: OpenCC is not installed. `pip install OpenCC`.") from error
    return lru_cache(CACHED_PIECES)(OpenCC(name).convert)
