"""Bytes of text files as UTF-8: what is no text in their encoding, and which encoding they likely are in instead."""

import codecs
import logging
import re
from typing import NamedTuple

from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.tasks import FileForm, setting

BOMS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# Bytes beyond one per character: no text in another encoding is valid UTF-8 by chance for so long.
SURELY_UTF8 = 20
# Code points that are no characters; one that the text does not hold marks what could not be decoded.
NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
BEYOND = re.compile(r"[^\x00-\x7f]")
MOST_SEQUENCES = 1 << 20
JOINED = 0.2  # of the lines; in short ones of another encoding it is by chance a tenth
FEW_LINES = 0.1
N_SHOWN = 5
# By far the most files that are not UTF-8 are in it; to a guesser its sisters often look as good, or a little better.
WESTERN, AS_GOOD = "cp1252", 0.05
MOST_READINGS, READING = 3, 12
logger = logging.getLogger(__name__)


class Utf8(NamedTuple):
    """A file's content as UTF-8; where rows with bytes that were no text are to go, `mark` stands for these."""

    content: bytes
    mark: str | None = None


class _Decoded(NamedTuple):
    """A text in which `mark` stands for each of `n_bad` sequences of bytes that are none in the encoding."""

    text: str
    mark: str
    n_bad: int

    @property
    def is_mostly_text(self) -> bool:
        """Whether characters beyond ASCII are as many as what is no text; by chance they are two fifths of it at most."""
        return len(BEYOND.findall(self.text)) >= 2 * self.n_bad

    def lines(self) -> list[int]:
        """Return the numbers of the lines with bytes that are no text."""
        return [number for number, line in enumerate(self.text.split("\n"), start=1) if self.mark in line]

    def damage(self) -> str:
        """Return how many sequences of bytes are no text, and on which lines."""
        lines = self.lines()
        shown = ", ".join(map(str, lines[:N_SHOWN])) + (", …" if len(lines) > N_SHOWN else "")
        return f"{self.n_bad} bad sequence{'s' * (self.n_bad > 1)} of bytes on line{'s' * (len(lines) > 1)} {shown}"


def as_utf8(content: bytes, form: FileForm, *, name: str, key: str) -> Utf8:
    """Return a file's content as UTF-8, without its byte order mark.

    Messages say the file's `name` and the task's `key` in params.yaml.

    Raises:
        DataError: if the content is in another encoding, or is no text in places and `encoding_errors` says to fail.
        ParamsError: if there is no such encoding.
    """
    content, encoding = content.removeprefix(b"\xef\xbb\xbf"), form.encoding
    try:
        is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
        b"a".decode(encoding)
    except (LookupError, ValueError) as error:
        if not isinstance(error, UnicodeDecodeError):  # an "a" is half a character of UTF-16
            text = f"{setting(key, 'encoding')}: {encoding!r} is not known. Use a name of Python's codecs."
            raise ParamsError(text, code="E202") from error
    if not is_utf8:
        _refuse_utf8(content, encoding, name=name, key=key)
    elif wide := next((known for bom, known in BOMS.items() if content.startswith(bom)), _wide(content)):
        raise DataError(
            f"{name}: must be UTF-8, got a zero byte or a byte order mark at its start. It looks like {wide.upper()}: "
            f"set {setting(key, 'encoding', wide)}.",
            code="E304",
        )
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        return _mended(content, form, error, name=name, key=key)
    return Utf8(content if is_utf8 else text.removeprefix("\ufeff").encode("utf-8", "replace"))


def _mended(content: bytes, form: FileForm, error: UnicodeDecodeError, *, name: str, key: str) -> Utf8:
    """Return content that is text but for some sequences of bytes, as `encoding_errors` says."""
    decoded = _decode(content, form.encoding)
    if decoded is None or form.encoding_errors == "fail":
        raise DataError(
            _refusal(content, decoded, form.encoding, error.start, name=name, key=key), code="E304"
        ) from error
    logger.warning("%s: %s are no %s: %s", name, decoded.damage(), form.encoding.upper(), form.encoding_errors)
    text, mark, _ = decoded
    if form.encoding_errors == "replace":
        return Utf8(text.replace(mark, "\ufffd").removeprefix("\ufeff").encode("utf-8", "replace"))
    return Utf8(text.removeprefix("\ufeff").encode("utf-8", "replace"), mark)


def _decode(content: bytes, encoding: str) -> _Decoded | None:
    """Return the text with a mark for each sequence of bytes that is none, or None where there are a million of these."""
    n_bad, mark = 0, ""

    def put_mark(error: UnicodeError) -> tuple[str, int]:
        nonlocal n_bad
        n_bad += 1
        if n_bad > MOST_SEQUENCES or not isinstance(error, UnicodeDecodeError):
            raise error
        return mark, error.end

    codecs.register_error("stitchfold.mark", put_mark)
    for mark in NONCHARACTERS:
        n_bad = 0
        try:
            text = content.decode(encoding, "stitchfold.mark")
        except UnicodeDecodeError:
            return None
        if text.count(mark) == n_bad:
            return _Decoded(text, mark, n_bad)
    return None


def _refuse_utf8(content: bytes, encoding: str, *, name: str, key: str) -> None:
    """Refuse UTF-8, whole or nearly so, that would be read as another encoding."""
    decoded = _decode(content, "utf-8")
    if decoded is None or not decoded.is_mostly_text:
        _warn_of_joined_files(decoded, encoding, name=name)
        return
    n_beyond = len(decoded.text.encode("utf-8")) - len(decoded.text) - 2 * decoded.n_bad
    if n_beyond >= SURELY_UTF8:
        how = f"but for {decoded.damage()}" if decoded.n_bad else "throughout"
        raise DataError(
            f"{name}: is UTF-8 {how}, but would be read as {encoding.upper()}: other words. "
            f"Remove {setting(key, 'encoding')}.",
            code="E304",
        )


def _warn_of_joined_files(decoded: _Decoded | None, encoding: str, *, name: str) -> None:
    """Warn where many lines are UTF-8, with two characters beyond ASCII or more, and others in the named encoding."""
    lines = enumerate(decoded.text.split("\n") if decoded else (), start=1)
    beyond = [(number, line) for number, line in lines if not line.isascii()]
    whole = [
        number for number, line in beyond if decoded and decoded.mark not in line and len(BEYOND.findall(line)) > 1
    ]
    if len(whole) >= JOINED * len(beyond) > 0:
        text = "%s: %d of the %d lines beyond ASCII are UTF-8, first line %d, and are read as %s: other words. Convert them."
        logger.warning(text, name, len(whole), len(beyond), whole[0], encoding.upper())


def _refusal(content: bytes, decoded: _Decoded | None, encoding: str, position: int, *, name: str, key: str) -> str:
    """Return why a file is not read, and what it likely is."""
    line = content.count(b"\n", 0, position) + 1
    mend = (
        f"set {setting(key, 'encoding_errors', 'replace')} (each becomes U+FFFD) or "
        f"{setting(key, 'encoding_errors', 'drop_row')} (their rows are left out)"
    )
    if decoded is not None and decoded.is_mostly_text:
        but = f"{name}:{line}: is {encoding.upper()} but for {decoded.damage()}"
        return f"{but}. Fetch the file again, mend them, or {mend}."
    where = f"{name}:{line}: must be {encoding.upper()}, got other bytes at byte {position}"
    readings = likely_encodings(content, position)
    if not readings:
        advice = f"Set {setting(key, 'encoding', '<its name>')}, or fetch the file again"
    else:
        first = next(iter(readings))
        right = [
            f"{guess} if it reads {text!r}" if guess != first else f"if line {line} reads {text!r}"
            for guess, text in readings.items()
        ]
        advice = f"It looks like {first.upper()}: set {setting(key, 'encoding', first)}"
        advice += f" {', '.join(right)}" * bool(readings[first]) + ", or fetch the file again"
    few = decoded is not None and len(decoded.lines()) <= FEW_LINES * decoded.text.count("\n")
    return f"{where}. {advice}." + (f" If only {decoded.damage()} are damaged, {mend}." if decoded and few else "")


def _wide(content: bytes) -> str | None:
    """Return the UTF-16 of a text without a byte order mark that begins with an ASCII letter."""
    return {content[:1]: "utf-16-be", content[1:2]: "utf-16-le"}.get(b"\0")


def likely_encodings(content: bytes, position: int) -> dict[str, str]:
    """Return what the words around a byte would read in the encodings that they may be in, likeliest first."""
    if known := next((encoding for mark, encoding in BOMS.items() if content.startswith(mark)), _wide(content)):
        return {known: ""}
    from charset_normalizer import from_bytes

    start = content.rfind(b"\n", 0, max(0, position - 2**15)) + 1
    stop = content.find(b"\n", position + 2**15)
    matches = from_bytes(content[start : stop if stop > 0 else None])
    guesses = [match.encoding for match in matches]
    equal = [match for match in matches if match.chaos <= matches[0].chaos + AS_GOOD]
    guesses.insert(0 if any(WESTERN in match.could_be_from_charset for match in equal) else 1, WESTERN)
    line_start, line_end = content.rfind(b"\n", 0, position) + 1, content.find(b"\n", position)
    line = content[line_start : line_end if line_end > 0 else None]
    readings: dict[str, str] = {}
    for guess in guesses if matches else ():
        place = len(line[: position - line_start].decode(guess, "ignore"))
        around = line.decode(guess, "replace")[max(0, place - READING) : place + READING].strip()
        if around not in readings.values() and "\ufffd" not in around:
            # gb18030 holds gbk and gb2312, which fail on rarer characters.
            readings[{"gbk": "gb18030", "gb2312": "gb18030"}.get(guess, guess)] = around
    return dict(list(readings.items())[:MOST_READINGS])
