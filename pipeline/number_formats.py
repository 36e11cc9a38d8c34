"""Numbers as the report writes them and as files do: a dash for what is not known, a real minus, four places for scores.

>>> score(0.81234), score(-0.5), score(None)
('0.8123', '−0.5000', '–')
>>> signed(0.01), signed(-0.00001)
('+0.0100', '+0.0000')
>>> correlation(-0.254), correlation(-0.001)
('−0.25', '0.00')
>>> count(12345)
'12,345'
>>> percent(0.125)
'12.5 %'
>>> duration(7.25), duration(75), duration(3725)
('7.2 s', '1 min 15 s', '1 h 02 min')
>>> size_text(1_340_000_000), size_text(5_200_000), size_text(80)
('1.34 GB', '5.2 MB', '0.1 kB')
"""

import re
import unicodedata
from fractions import Fraction

LONGEST_NUMBER = 300
# Of thousands and decimals with a point or a comma, with an exponent or a percent sign, or a fraction.
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?%?")
NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d{1,3})?%?|[+-]?\d+/0*[1-9]\d*")


def number_in(text: str) -> Fraction | None:
    """Return the number that a text is, however it is written, or None.

    >>> [str(number_in(text)) for text in ("1.50", "-2", "−2", "1e1", "٣", "1,5", "1,000", "３/４", "½", "5 %", "+.5")]
    ['3/2', '-2', '-2', '10', '3', '3/2', '1000', '3/4', '1/2', '1/20', '1/2']
    >>> [number_in(text) for text in ("", "nan", "inf", "1_0", "1-2", "ten", "1/0", "v1.0")] == [None] * 8
    True
    """
    plain = unicodedata.normalize("NFKC", text).strip().replace("\u2212", "-").replace("\u2044", "/").replace(" %", "%")
    if len(plain) > LONGEST_NUMBER:
        return None
    if THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    elif not NUMBER.fullmatch(plain):
        return None
    value = Fraction(plain.removesuffix("%").replace(",", "."))
    return value / 100 if plain.endswith("%") else value


def score(value: float | None) -> str:
    """Return a score."""
    return "–" if value is None else f"{value:.4f}".replace("-", "−")


def signed(value: float | None) -> str:
    """Return a gain with its sign."""
    return "–" if value is None else f"{round(value, 4) + 0.0:+.4f}".replace("-", "−")


def correlation(value: float | None) -> str:
    """Return a correlation."""
    return "–" if value is None else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def count(value: float | None) -> str:
    """Return a number of things."""
    return "–" if value is None else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """Return a share."""
    return "–" if value is None else f"{100 * value:.1f} %"


def duration(seconds: float | None) -> str:
    """Return a time in its two largest units."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def size_text(n_bytes: int | None) -> str:
    """Return a size for people, a question mark where it is not known."""
    if n_bytes is None:
        return "?"
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.2f} GB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.1f} kB"
