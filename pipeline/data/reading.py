"""Raw competition files as columns of text: csv, tsv, json lines, json and parquet, plain, gzipped or zipped.

Nothing is interpreted: ids `001` and `1e5` and labels `NA` and `null` stay as they are; missing is an empty value, a null
of json and parquet, and there a number that is not a number.
"""

import difflib
import io
import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.data.archives import most_unpacked, read_uncompressed
from pipeline.data.delimited import Delimited, parse_delimited
from pipeline.data.text_encodings import as_utf8
from pipeline.errors.exceptions import DataError, PipelineError

SEPARATORS = {"csv": b",", "tsv": b"\t"}
SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet"}
Column = str | int


def read_columns(
    path: Path,
    wanted: Sequence[Column],
    *,
    optional: Collection[Column] = (),
    format: str | None = None,
    encoding: str = "utf-8",
    header: bool = True,
    quoting: bool = True,
    key: str = "tasks.<task>",
) -> pd.DataFrame:
    """Return columns of a file as text, with `line`: the physical line (or the number of the record) from 1.

    Args:
        path: the file; its name says whether it is compressed and, where `format` is None, the format.
        wanted: column names, or positions from 0 where there is no header; each becomes a column so named.
        optional: those of `wanted` that may be absent; they are then left out.
        format: csv, tsv, jsonl, json or parquet; `encoding`, `header` and `quoting` are those of params.yaml.
        key: the task's key in params.yaml, for messages.

    Raises:
        DataError: if the file is not what the arguments say; names the file and the line.
        ParamsError: if there is no such encoding.
    """
    name, content = read_uncompressed(path)
    form = format or SUFFIXES.get(PurePosixPath(name).suffix.lower())
    if form is None:
        raise DataError(
            f"{path}: the format of {name!r} is not known from its name. Set {key}.format: csv, tsv, jsonl, json or parquet."
        )
    if form == "parquet":
        columns, lines = _read_parquet(content, wanted, optional, name=str(path))
    else:
        text = as_utf8(content, encoding, name=str(path), key=key)
        del content
        if form in SEPARATORS:
            records = parse_delimited(text, name=str(path), separator=SEPARATORS[form], quoting=quoting)
            columns, lines = _read_delimited(records, wanted, optional, name=str(path), header=header)
        else:
            read = _json_lines if form == "jsonl" else _json_array
            columns, lines = _read_records(read(text, str(path)), wanted, optional, name=str(path))
    if not len(lines):
        raise DataError(f"{path}: must hold at least one row, got none. Put the competition's file there.", code="E300")
    frame = pa.table(list(columns.values()), names=[str(column) for column in columns]).to_pandas()
    return frame.set_axis(list(columns), axis=1).assign(line=lines)


def _read_delimited(
    records: Delimited, wanted: Sequence[Column], optional: Collection[Column], *, name: str, header: bool
) -> tuple[dict[Column, pa.Array], np.ndarray]:
    if not len(records.lines):
        return {}, records.lines
    names: Sequence[Column] = records.record(0) if header else range(records.n_columns)
    rows = slice(1 if header else 0, None)
    positions = _positions(names, wanted, optional, name=name)
    return {column: records.column(position, rows) for column, position in positions.items()}, records.lines[rows]


def _read_parquet(
    content: bytes, wanted: Sequence[Column], optional: Collection[Column], *, name: str
) -> tuple[dict[Column, pa.Array], np.ndarray]:
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        positions = _positions(file.schema_arrow.names, wanted, optional, name=name)
        if file.metadata.num_rows > most_unpacked(len(content)):
            raise DataError(f"{name}: has {file.metadata.num_rows} rows in {len(content)} bytes. Do not trust it.")
        table = file.read(columns=[str(column) for column in positions])
        columns = {column: _as_texts(table[str(column)]) for column in positions}
        for column in columns.values():
            column.validate(full=True)  # Arrow does not look whether text is UTF-8 before somebody stumbles over it
    except PipelineError:
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError) as error:
        raise DataError(
            f"{name}: is not parquet with columns of text or numbers: {' '.join(str(error).split())}. "
            "Fetch it again or correct the format."
        ) from error
    return columns, np.arange(1, table.num_rows + 1)


def _as_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a parquet column as text, empty where it is null or, of numbers, not a number: both mean missing."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    texts = values.cast(pa.large_string())
    if pa.types.is_floating(values.type):
        texts = pc.if_else(pc.is_nan(values), "", texts)
    return pc.fill_null(texts, "")


def _positions(
    names: Sequence[Column], wanted: Sequence[Column], optional: Collection[Column], *, name: str
) -> dict[Column, int]:
    """Return the position of each wanted column."""
    if twice := sorted(str(column) for column, count in Counter(names).items() if count > 1):
        raise DataError(
            f"{name}:1: column names must differ, got {twice} more than once. Rename one of them.", code="E303"
        )
    missing = [column for column in wanted if column not in names and column not in optional]
    if missing:
        raise DataError(
            f"{name}:1: has no column {missing[0]!r}, {_hint(missing[0], names)}. Correct the task's `columns`.",
            code="E303",
        )
    return {column: list(names).index(column) for column in wanted if column in names}


def _hint(column: Column, names: Sequence[Column]) -> str:
    texts = [str(candidate)[:80] for candidate in names]
    if isinstance(column, int) != all(isinstance(candidate, int) for candidate in names):
        how = "name" if isinstance(column, int) else "position"
        return f"columns are addressed by {how} here, got {texts[:20]}"
    alike = [text for text in texts if text.strip().casefold() == str(column).strip().casefold()]
    close = alike or difflib.get_close_matches(str(column), texts, n=1)
    return f"got {texts[:20]}" + (f"; did you mean {close[0]!r} (spelt exactly so)" if close else "")


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's pairs as a dictionary; a key that stands twice is a ValueError."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"each key must stand once in an object, got {keys[:20]}")
    return dict(pairs)


# Numbers stay the text they are: 1e5 and 9007199254740993 would change as floats. A bare NaN is how Python writes a gap.
DECODER = json.JSONDecoder(
    object_pairs_hook=unique_keys,
    parse_int=str,
    parse_float=str,
    parse_constant=lambda constant: None if constant == "NaN" else constant,
)


def _json_lines(content: bytes, name: str) -> list[tuple[int, Any]]:
    lines = enumerate(content.split(b"\n"), start=1)  # not splitlines: U+2028 may stand in a text
    return [(number, _decoded(line.decode(), f"{name}:{number}")) for number, line in lines if line.strip()]


def _json_array(content: bytes, name: str) -> list[tuple[int, Any]]:
    records = _decoded(content.decode(), name)
    if not isinstance(records, list):
        raise DataError(
            f"{name}: must be an array of objects, got {_kind(records)}. Correct the task's format (jsonl has one per line).",
            code="E307",
        )
    return list(enumerate(records, start=1))


def _decoded(text: str, where: str) -> Any:
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: is not valid JSON: {error}. Mend it, or correct the task's format.", code="E307"
        ) from error


def _read_records(
    records: list[tuple[int, Any]], wanted: Sequence[Column], optional: Collection[Column], *, name: str
) -> tuple[dict[Column, pa.Array], np.ndarray]:
    for number, record in records:
        if not isinstance(record, dict):
            raise DataError(f"{name}:{number}: must be an object, got {_kind(record)}. Mend the row.", code="E307")
    present = [c for c in wanted if c not in optional or any(c in record for _, record in records)]
    columns = {
        column: pa.array(
            [_as_text(record, column, f"{name}:{number}") for number, record in records], pa.large_string()
        )
        for column in (present if records else ())
    }
    return columns, np.array([number for number, _ in records], np.int64)


def _as_text(record: dict[str, Any], column: Column, where: str) -> str:
    if column not in record:
        raise DataError(
            f"{where}: has no key {column!r}, {_hint(column, list(record))}. Correct the task's `columns`, or mend the row.",
            code="E303",
        )
    value = record[str(column)]
    if isinstance(value, str):
        # A lone surrogate escape is no character: UTF-8 cannot hold it.
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    raise DataError(f"{where}: {column!r} must be text, a number or null, got {_kind(value)}. Flatten it.", code="E307")


def _kind(value: Any) -> str:
    """Return what JSON calls a value; numbers have been left as text."""
    names = {dict: "an object", list: "an array", str: "a text or number", bool: "a boolean", type(None): "null"}
    return names[type(value)]
