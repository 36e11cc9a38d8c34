"""Comma-, tab- and otherwise separated bytes as columns of text, every byte kept.

Written here because the known parsers change texts: pandas' C engine ends a field at a NUL and fills short
rows in silence, pyarrow's and the csv module stop at a bare CR. Here a row ends at LF (or CR LF, or the CR CR LF that
Windows makes of CR LF written as text) outside quotes and nowhere else; quoting follows RFC 4180,
https://www.rfc-editor.org/rfc/rfc4180.
"""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors.exceptions import DataError
from pipeline.params.tasks import setting

logger = logging.getLogger(__name__)
QUOTE, LF, CR = b'"'[0], b"\n"[0], b"\r"[0]
CHUNK_BYTES = 1 << 22
KNOWN_SEPARATORS = {",": "','", ";": "';'", "\t": r'"\t"', "|": "'|'"}  # as params.yaml writes them
# A quote swallows rows where so many of its lines are whole rows: in a long span one of them is ragged.
MOSTLY = 0.75
MOST_LOOKED_AT, N_LOOKED_AT = 1 << 16, 20


@dataclass(frozen=True)
class Dialect:
    """How a file's fields and rows are told apart; `name` is the file's and `key` the task's, for messages."""

    separator: str = ","
    quoting: bool = True
    escape: str | None = None
    name: str = "file"
    key: str = "tasks.<task>"
    joins_torn_lines: bool = False

    @property
    def escaped(self) -> str | None:
        """The pattern of an escape and what it makes ordinary, its only group, for both Python and RE2."""
        if self.escape is None:
            return None
        ordinary = "".join(f"\\x{ord(character):02x}" for character in ('"', self.separator, self.escape))
        return f"\\x{ord(self.escape):02x}([{ordinary}]|\\r{{0,2}}\\n)"

    def advice(self, content: bytes) -> str:
        """Return the options of a dialect that content may be in, as the end of a sentence."""
        quoting = f"set {setting(self.key, 'quoting', 'false')} if quotes are ordinary characters"
        if self.escape is None and b'\\"' in content:
            return f"set {setting(self.key, 'escape', chr(39) + chr(92) + chr(39))} as backslashes stand before quotes"
        return quoting if self.quoting else f"check {setting(self.key, 'separator')}"


@dataclass(frozen=True)
class Delimited:
    """The records of a file: where each begins, ends and is separated. `lines` are physical, from 1."""

    buffer: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    separators: np.ndarray
    lines: np.ndarray
    dialect: Dialect

    @property
    def n_columns(self) -> int:
        """Fields of every record."""
        return int(self.separators.shape[1]) + 1

    def record(self, index: int) -> list[str]:
        """Return the fields of one record."""
        return [self.column(column, slice(index, index + 1))[0].as_py() for column in range(self.n_columns)]

    def column(self, index: int, rows: slice) -> pa.LargeStringArray:
        """Return one column of a range of records, quotes and escapes resolved."""
        starts = self.starts[rows] if index == 0 else self.separators[rows, index - 1] + 1
        ends = self.ends[rows] if index == self.n_columns - 1 else self.separators[rows, index]
        quoted = np.zeros(len(starts), bool)
        if self.dialect.quoting and len(starts):
            quoted = (starts < ends) & (self.buffer[np.minimum(starts, len(self.buffer) - 1)] == QUOTE)
        texts = _gather(self.buffer, starts + quoted, ends - quoted)
        if (escaped := self.dialect.escaped) is not None:
            inside = pc.replace_substring_regex(texts, f'{escaped}|"(")', r"\1\2")
            return pc.if_else(pa.array(quoted), inside, pc.replace_substring_regex(texts, escaped, r"\1"))
        return pc.if_else(pa.array(quoted), pc.replace_substring(texts, '""', '"'), texts) if quoted.any() else texts

    def holding(self, text: str) -> np.ndarray:
        """Return which records hold a text, in whatever field, bool (records,)."""
        places = [match.start() for match in re.finditer(re.escape(text.encode()), self.buffer.data)]
        return np.asarray(np.searchsorted(places, self.starts) < np.searchsorted(places, self.ends))


def parse_delimited(content: bytes, dialect: Dialect) -> Delimited:
    """Return the records of UTF-8 bytes without byte order mark; blank lines are passed over.

    Raises:
        DataError: if a quote is not closed or swallows rows, or a record has other than the first one's fields.
    """
    buffer = np.frombuffer(content, np.uint8)
    newlines = breaks = _positions(buffer, LF)
    shape = buffer
    if dialect.escaped is not None:
        # Where nothing is escaped, bytes alone show the fields and rows.
        content = re.sub(dialect.escaped.encode(), lambda match: b"x" * len(match[0]), content)
        shape = np.frombuffer(content, np.uint8)
        breaks = _positions(shape, LF)
    spans = _quoted_spans(content, newlines, dialect) if dialect.quoting else np.empty((2, 0), np.int64)
    outside = _outside(breaks, spans)
    starts, ends = np.append(0, outside + 1), np.append(outside, len(shape))
    for _ in range(2 if len(shape) else 0):
        ends = ends - ((starts < ends) & (shape[np.maximum(ends, 1) - 1] == CR))
    starts, ends = starts[starts < ends], ends[starts < ends]
    lines = np.searchsorted(newlines, starts) + 1
    separators = _outside(_positions(shape, ord(dialect.separator)), spans)
    counts = np.searchsorted(separators, ends) - np.searchsorted(separators, starts) + 1
    if dialect.joins_torn_lines and len(counts):
        starts, ends, counts, lines = _join_torn(starts, ends, counts, lines, dialect.name)
    wrong = np.flatnonzero(counts != counts[:1])
    if len(wrong):
        line, got = lines[wrong[0]], counts[wrong[0]]
        torn = setting(dialect.key, "torn_lines", "join")
        join = f"set {torn} if a line break tore it, " if got < counts[0] and not dialect.joins_torn_lines else ""
        raise DataError(
            f"{dialect.name}:{line}: must have {counts[0]} fields as line {lines[0]} has, got {got} "
            f"({len(wrong)} such rows). Mend them, {join}check the task's format, or {dialect.advice(content)}.",
            code="E307",
        )
    if not len(starts):
        return Delimited(buffer, starts, ends, np.empty((0, 0), np.int64), lines, dialect)
    if spans.size:
        _refuse_swallowed_rows(content, newlines, spans, int(counts[0]), dialect)
    return Delimited(buffer, starts, ends, separators.reshape(len(starts), -1), lines, dialect)


def _join_torn(
    starts: np.ndarray, ends: np.ndarray, counts: np.ndarray, lines: np.ndarray, name: str
) -> tuple[np.ndarray, ...]:
    """Join lines with too few fields to those they were torn from: together they have as many as most lines have.

    A line break within a field leaves two parts of it, which count once. What cannot be joined so stays as it is.
    """
    n_fields = int(np.bincount(counts).argmax())
    counts, begins, closes = counts.copy(), np.ones(len(counts), bool), np.ones(len(counts), bool)
    joined, after = [], 0
    for first in np.flatnonzero(counts < n_fields):
        if first < after:
            continue
        last, total = int(first), int(counts[first])
        while total < n_fields and last + 1 < len(counts) and counts[last + 1] < n_fields:
            last += 1
            total += int(counts[last]) - 1
        if total == n_fields:
            closes[first:last], begins[first + 1 : last + 1], counts[first] = False, False, n_fields
            joined.append(int(lines[first]))
            after = last + 1
    if joined:
        logger.warning("%s: %d torn lines were joined with what follows, such as line %d", name, len(joined), joined[0])
    return starts[begins], ends[closes], counts[begins], lines[begins]


def check_separator(content: bytes, dialect: Dialect, wanted: Sequence[str | int] | None) -> None:
    """Refuse content, which could not be read, if another separator would show the wanted columns; None is any several.

    Raises:
        DataError: if one would; says which.
    """
    lines = [
        line.rstrip("\r") for line in content[:MOST_LOOKED_AT].decode("utf-8", "replace").split("\n")[:N_LOOKED_AT]
    ]
    lines = [line for line in lines if line]
    for separator, shown in KNOWN_SEPARATORS.items():
        names = [name.strip().strip('"') for name in lines[0].split(separator)] if lines else []
        by_name = bool(wanted) and set(wanted or ()) <= set(names)
        by_place = set(wanted or ()) <= set(range(len(names))) and len({line.count(separator) for line in lines}) == 1
        if separator != dialect.separator and len(names) > 1 and (by_name or by_place):
            current = KNOWN_SEPARATORS.get(dialect.separator, dialect.separator)
            raise DataError(
                f"{dialect.name}:1: fields must be separated by {current}, got {lines[0][:80]!r}: by {shown}. "
                f"Set {setting(dialect.key, 'separator', shown)}.",
                code="E307",
            )


def _positions(buffer: np.ndarray, byte: int) -> np.ndarray:
    starts = range(0, len(buffer), CHUNK_BYTES)
    chunks = (np.flatnonzero(buffer[start : start + CHUNK_BYTES] == byte) + start for start in starts)
    return np.concatenate([np.empty(0, np.int64), *chunks])


def _outside(positions: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Return the positions that lie in no span."""
    if not spans.size:
        return positions
    nearest = np.searchsorted(spans[0], positions, side="right") - 1
    return positions[(nearest < 0) | (positions >= spans[1][np.maximum(nearest, 0)])]


def _quoted_spans(content: bytes, newlines: np.ndarray, dialect: Dialect) -> np.ndarray:
    """Return begin and end of every quoted field, an int64 array (2, fields)."""
    mark = re.escape(dialect.separator.encode())
    # A quote opens a field only at its start; possessive loops keep megabytes linear.
    pattern = rb'"(?<![^%b\n]")[^"]*+(?:""[^"]*+)*+("(?=%b|\r{0,2}(?:\n|\Z)))?' % (mark, mark)
    spans = []
    for match in re.finditer(pattern, content):
        if match.group(1) is None:
            line = int(np.searchsorted(newlines, match.start())) + 1
            raise DataError(
                f"{dialect.name}:{line}: a quote opens a field here and is not closed before a separator or line end. "
                f"Close it, or {dialect.advice(content[match.start() : match.end() + 1])}.",
                code="E307",
            )
        spans.append(match.span())
    return np.array(spans, np.int64).reshape(-1, 2).T.copy()


def _refuse_swallowed_rows(
    content: bytes, newlines: np.ndarray, spans: np.ndarray, n_columns: int, dialect: Dialect
) -> None:
    """Refuse a quoted field most of whose lines are whole rows when its quotes are taken as ordinary characters.

    Between commas that could also be a text of several lines, so there the first fields must look alike too.
    """
    separator = dialect.separator.encode()
    several = np.searchsorted(newlines, spans[0]) < np.searchsorted(newlines, spans[1])
    for start, end in spans[:, several].T:
        stop = content.find(b"\n", end)
        rows = content[content.rfind(b"\n", 0, start) + 1 : stop if stop >= 0 else None].split(b"\n")
        whole = [fields for fields in (row.split(separator) for row in rows) if len(fields) == n_columns]
        shapes = Counter(re.sub(rb"[A-Za-z]+", b"a", re.sub(rb"[0-9]+", b"9", fields[0])) for fields in whole)
        n_alike = len(whole) if separator == b"\t" else max(shapes.values(), default=0)
        if n_alike >= MOSTLY * len(rows) and len(rows) > 1 and n_columns > 1:
            line = int(np.searchsorted(newlines, start)) + 1
            raise DataError(
                f"{dialect.name}:{line}: a quote opened here swallows {len(rows) - 1} rows, {n_alike} of {len(rows)} "
                f"lines whole by themselves. Set {setting(dialect.key, 'quoting', 'false')}, or mend the quote.",
                code="E307",
            )


def _gather(buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> pa.LargeStringArray:
    """Return slices of a buffer as one string array, in chunks: an index costs eight bytes per byte."""
    lengths = ends - starts
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    out = np.empty(offsets[-1], np.uint8)
    cuts = np.unique(np.append(np.searchsorted(offsets, np.arange(0, offsets[-1], CHUNK_BYTES)), len(starts)))
    for first, last in pairwise(cuts):
        shift = np.repeat(starts[first:last] - offsets[first:last], lengths[first:last])
        out[offsets[first] : offsets[last]] = buffer[np.arange(offsets[first], offsets[last]) + shift]
    return pa.LargeStringArray.from_buffers(len(starts), pa.py_buffer(offsets), pa.py_buffer(out))
