"""Comma- and tab-separated bytes as columns of text, every byte kept.

Written here because the known parsers change texts: pandas' C engine ends a field at a NUL and fills short
rows in silence, pyarrow's and the csv module stop at a bare CR. Here a row ends at LF (or CR LF) outside quotes
and nowhere else; quoting follows RFC 4180, https://www.rfc-editor.org/rfc/rfc4180.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors.exceptions import DataError

QUOTE, LF, CR = b'"'[0], b"\n"[0], b"\r"[0]
CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Delimited:
    """The records of a file: where each begins, ends and is separated. `lines` are physical, from 1."""

    buffer: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    separators: np.ndarray
    lines: np.ndarray
    quoting: bool

    @property
    def n_columns(self) -> int:
        """Fields of every record."""
        return int(self.separators.shape[1]) + 1

    def record(self, index: int) -> list[str]:
        """Return the fields of one record."""
        return [self.column(column, slice(index, index + 1))[0].as_py() for column in range(self.n_columns)]

    def column(self, index: int, rows: slice) -> pa.LargeStringArray:
        """Return one column of a range of records, quotes resolved."""
        starts = self.starts[rows] if index == 0 else self.separators[rows, index - 1] + 1
        ends = self.ends[rows] if index == self.n_columns - 1 else self.separators[rows, index]
        if not self.quoting or not len(starts):
            return _gather(self.buffer, starts, ends)
        quoted = (starts < ends) & (self.buffer[np.minimum(starts, len(self.buffer) - 1)] == QUOTE)
        texts = _gather(self.buffer, starts + quoted, ends - quoted)
        return pc.if_else(pa.array(quoted), pc.replace_substring(texts, '""', '"'), texts) if quoted.any() else texts


def parse_delimited(content: bytes, *, name: str, separator: bytes, quoting: bool) -> Delimited:
    """Return the records of UTF-8 bytes without byte order mark; blank lines are passed over.

    `name` is the file's, for messages; `quoting`, whether a quote at the start of a field opens a quoted field.

    Raises:
        DataError: if a quote is not closed or swallows rows, or a record has other than the first one's fields.
    """
    buffer = np.frombuffer(content, np.uint8)
    newlines = _positions(buffer, LF)
    spans = _quoted_spans(content, newlines, name=name, separator=separator) if quoting else np.empty((2, 0), np.int64)
    breaks = _outside(newlines, spans)
    starts, ends = np.append(0, breaks + 1), np.append(breaks, len(buffer))
    ends = ends - ((starts < ends) & (buffer[np.maximum(ends, 1) - 1] == CR) if len(buffer) else 0)
    starts, ends = starts[starts < ends], ends[starts < ends]
    lines = np.searchsorted(newlines, starts) + 1
    separators = _outside(_positions(buffer, separator[0]), spans)
    counts = np.searchsorted(separators, ends) - np.searchsorted(separators, starts) + 1
    wrong = np.flatnonzero(counts != counts[:1])
    if len(wrong):
        line, got = lines[wrong[0]], counts[wrong[0]]
        raise DataError(
            f"{name}:{line}: must have {counts[0]} fields as line {lines[0]} has, got {got} "
            f"({len(wrong)} such rows). Mend them, or check the task's format and `quoting`.",
            code="E307",
        )
    if not len(starts):
        return Delimited(buffer, starts, ends, np.empty((0, 0), np.int64), lines, quoting)
    if spans.size:
        _refuse_swallowed_rows(content, newlines, spans, int(counts[0]), name=name, separator=separator)
    return Delimited(buffer, starts, ends, separators.reshape(len(starts), -1), lines, quoting)


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


def _quoted_spans(content: bytes, newlines: np.ndarray, *, name: str, separator: bytes) -> np.ndarray:
    """Return begin and end of every quoted field, an int64 array (2, fields)."""
    mark = re.escape(separator)
    # A quote opens a field only at its start; possessive loops keep megabytes linear.
    pattern = rb'"(?<![^%b\n]")[^"]*+(?:""[^"]*+)*+("(?=%b|\n|\r\n|\r?\Z))?' % (mark, mark)
    spans = []
    for match in re.finditer(pattern, content):
        if match.group(1) is None:
            line = int(np.searchsorted(newlines, match.start())) + 1
            raise DataError(
                f"{name}:{line}: a quote opens a field here and is not closed before a separator or line "
                "end. Close it, or set the task's `quoting: false` if quotes are ordinary characters.",
                code="E307",
            )
        spans.append(match.span())
    return np.array(spans, np.int64).reshape(-1, 2).T.copy()


def _refuse_swallowed_rows(
    content: bytes, newlines: np.ndarray, spans: np.ndarray, n_columns: int, *, name: str, separator: bytes
) -> None:
    """Refuse a quoted field whose lines are all whole rows when its quotes are taken as ordinary characters.

    Between commas that could also be a text of several lines, so there the first fields must look alike too.
    """
    several = np.searchsorted(newlines, spans[0]) < np.searchsorted(newlines, spans[1])
    for start, end in spans[:, several].T:
        stop = content.find(b"\n", end)
        rows = content[content.rfind(b"\n", 0, start) + 1 : stop if stop >= 0 else None].split(b"\n")
        fields = [row.split(separator) for row in rows]
        shapes = {re.sub(rb"[A-Za-z]+", b"a", re.sub(rb"[0-9]+", b"9", row[0])) for row in fields}
        if all(len(row) == n_columns for row in fields) and n_columns > 1 and (separator == b"\t" or len(shapes) == 1):
            line = int(np.searchsorted(newlines, start)) + 1
            raise DataError(
                f"{name}:{line}: a quote opened here swallows {len(rows) - 1} rows, each whole by itself. "
                "Set the task's `quoting: false`, or mend the quote.",
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
