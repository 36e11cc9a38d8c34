"""Normal forms of texts: cleaned for the table, and folded for comparison."""

import unicodedata
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
import regex

# No script puts more marks on a character (UAX #15, Stream-Safe Text Format); to order very many takes quadratic time.
MARKS = r"(\p{M}{30})\p{M}+"
HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x2A6DF))


def normalise(text: str) -> str:
    """Return a text as it is compared: NFKC, case folded, white space collapsed, traditional characters simplified.

    >>> normalise("  Ｈello \\n WORLD "), normalise("頭髮")
    ('hello world', '头发')
    """
    composed = unicodedata.normalize("NFKC", regex.sub(MARKS, r"\1", text))
    folded = " ".join(regex.sub(MARKS, r"\1", composed).casefold().split())  # one mark may have become two
    return folded if folded.isascii() else folded.translate(_simplified())


@cache
def _simplified() -> dict[int, str]:
    """Return the simplified character of each traditional one; phrases, which differ by region, are left alone."""
    from opencc import OpenCC

    characters = [chr(code) for first, last in HAN for code in range(first, last + 1)]
    converted = OpenCC("t2s").convert("\n".join(characters)).split("\n")
    return {ord(old): new for old, new in zip(characters, converted, strict=True) if old != new}


LINE_BREAKS = "\r\n|\r|\u0085"
# C0 and C1 controls but tab and newline, and the byte order mark. Joiners and direction marks carry meaning: kept.
CONTROLS = "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x{9f}\\x{feff}]"


def clean(texts: pa.Array) -> pa.Array:
    r"""Return texts in NFC, line breaks as newlines, without control characters. Cleaning twice changes nothing.

    Of more than 30 combining marks in a row the first 30 stay.

    >>> clean(pa.array(["a\r\nb\x00", "e\u0301\ufeff"])).to_pylist()
    ['a\nb', 'é']
    """
    broken = pc.replace_substring_regex(texts, LINE_BREAKS, "\n")
    bounded = pc.replace_substring_regex(pc.replace_substring_regex(broken, CONTROLS, ""), MARKS, r"\1")
    # One mark may have become two.
    return pc.replace_substring_regex(pc.utf8_normalize(bounded, form="NFC"), MARKS, r"\1")
