"""Raw competition files as columns of text: csv, tsv, json lines, json and parquet, plain, gzipped or zipped.

Every file of a competition is read here, the sample submission too. Nothing is interpreted: ids `001` and `1e5` and labels
`NA` and `null` stay as they are; missing is an empty value, a null of json and parquet, and there a number that is not one.
"""

import difflib
import io
import json
import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.data.archives import check_unpacked, read_uncompressed
from pipeline.data.delimited import Dialect, check_separator, parse_delimited
from pipeline.data.text_encodings import as_utf8
from pipeline.errors.exceptions import DataError, PipelineError
from pipeline.params.tasks import FileForm, setting

SEPARATORS = {"csv": ",", "tsv": "\t"}
SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet"}
Column = str | int
LINE = -1  # the column of line numbers: no name that a file's column may have
ROWS_OF_A_BATCH = 1 << 16
AS_WRITTEN = FileForm()
logger = logging.getLogger(__name__)


def read_columns(
    path: Path,
    wanted: Sequence[Column] | None,
    form: FileForm = AS_WRITTEN,
    *,
    optional: Collection[Column] = (),
    key: str = "tasks.<task>",
    may_be_empty: bool = False,
) -> pd.DataFrame:
    """Return columns of a file as text, with `LINE`: the physical line (or the number of the record) from 1.

    Args:
        path: the file; its name says whether it is compressed and, where `form` does not, the format.
        wanted: column names, or positions from 0 where there is no header; each becomes a column so named. None is all.
        form: how the file is written.
        optional: those of `wanted` that may be absent; they are then left out.
        key: where `form` stands in params.yaml, for messages.
        may_be_empty: whether it may have a header alone, or a parquet no rows.

    Raises:
        DataError: if the file is not what the arguments say; names the file and the line.
        ParamsError: if there is no such encoding.
    """
    name, content = read_uncompressed(path)
    format = _format_of(name, form)
    if format is None:
        raise DataError(
            f"{path}: the format of {name!r} is not known from its name. "
            f"Set {setting(key, 'format', 'csv, tsv, jsonl, json or parquet')}."
        )
    if format == "parquet":
        columns, lines = _read_parquet(content, wanted, optional, name=str(path))
    else:
        text, mark = as_utf8(content, form, name=str(path), key=key)
        del content
        if format in SEPARATORS:
            dialect = Dialect(
                form.separator or SEPARATORS[format],
                form.quoting,
                form.escape,
                str(path),
                key,
                form.torn_lines == "join",
            )
            columns, lines = _read_delimited(text, dialect, wanted, optional, header=form.header, mark=mark)
        else:
            read = _json_array if format == "json" and text.lstrip().startswith(b"[") else _json_lines
            columns, lines = _read_records(read(text, str(path)), wanted, optional, name=str(path), mark=mark)
    if not len(lines) and not (may_be_empty and columns):
        raise DataError(f"{path}: must hold at least one row, got none. Put the competition's file there.", code="E300")
    frame = pa.table(list(columns.values()), names=[str(column) for column in columns]).to_pandas()
    frame = frame.set_axis(list(columns), axis=1)
    frame[LINE] = lines
    return frame


def separator_of(path: Path, form: FileForm) -> str:
    """Return what separates the fields of a file, a comma where it is no csv or tsv."""
    format = _format_of(read_uncompressed(path)[0], form)
    return form.separator or SEPARATORS.get(format or "", ",")


def _format_of(name: str, form: FileForm) -> str | None:
    return form.format or SUFFIXES.get(PurePosixPath(name).suffix.lower())


def _read_delimited(
    content: bytes, dialect: Dialect, wanted: Sequence[Column] | None, optional: Collection[Column], *, header: bool,
    mark: str | None,
) -> tuple[dict[Column, pa.Array], np.ndarray]:  # fmt: skip
    required = None if wanted is None else [column for column in wanted if column not in optional]
    try:
        records = parse_delimited(content, dialect)
        if not len(records.lines):
            return {}, records.lines
        names: Sequence[Column] = records.record(0) if header else range(records.n_columns)
        positions = _positions(names, wanted, optional, name=dialect.name)
    except DataError:
        check_separator(content, dialect, required)
        raise
    if wanted is None and records.n_columns == 1:
        check_separator(content, dialect, None)
    rows = slice(1 if header else 0, None)
    columns = {column: records.column(position, rows) for column, position in positions.items()}
    if mark is None:
        return columns, records.lines[rows]
    whole = ~records.holding(mark)[rows]
    return {column: texts.filter(pa.array(whole)) for column, texts in columns.items()}, records.lines[rows][whole]


def _read_parquet(
    content: bytes, wanted: Sequence[Column] | None, optional: Collection[Column], *, name: str
) -> tuple[dict[Column, pa.Array], np.ndarray]:
    try:
        schema = pq.read_schema(io.BytesIO(content))
        positions = _positions(schema.names, wanted, optional, name=name)
        for column, position in positions.items():
            kind = schema.types[position]
            if pa.types.is_nested(kind) or pa.types.is_fixed_size_binary(kind):
                raise DataError(f"{name}: column {column!r} must hold texts or numbers, got {kind}. Flatten it.")
        columns = _read_batches(content, list(positions), name=name)
    except PipelineError:
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError, MemoryError) as error:
        raise DataError(
            f"{name}: is not parquet with columns of text or numbers: {' '.join(str(error).split())}. "
            "Fetch it again or correct the format."
        ) from error
    return columns, np.arange(1, len(next(iter(columns.values()), ())) + 1)


def _read_batches(content: bytes, wanted: Sequence[Column], *, name: str) -> dict[Column, pa.Array]:
    """Return columns of a parquet file, counting what they grow to: its own numbers may be forged, its texts repeated."""
    names, n_bytes = [str(column) for column in wanted], 0
    # A text that is repeated is kept once until its size is known.
    file = pq.ParquetFile(io.BytesIO(content), read_dictionary=names)
    parts: dict[Column, list[pa.Array]] = {column: [] for column in wanted}
    for batch in file.iter_batches(batch_size=ROWS_OF_A_BATCH, columns=names):
        for column in wanted:
            values = batch.column(str(column))
            n_bytes += values.nbytes
            if isinstance(values, pa.DictionaryArray):
                lengths = pc.binary_length(values.dictionary.cast(pa.large_string()))
                n_bytes += pc.sum(lengths.take(values.indices)).as_py() or 0
            check_unpacked(n_bytes, compressed=len(content), name=name)
            texts = _as_texts(values)
            texts.validate(full=True)  # Arrow does not look whether text is UTF-8 before somebody stumbles over it
            parts[column].append(texts)
    return {column: pa.chunked_array(texts, pa.large_string()) for column, texts in parts.items()}


def _as_texts(values: pa.Array) -> pa.Array:
    """Return a parquet column as text, empty where it is null or, of numbers, not a number: both mean missing."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    texts = values.cast(pa.large_string())
    if pa.types.is_floating(values.type):
        texts = pc.if_else(pc.is_nan(values), "", texts)
    return pc.fill_null(texts, "")


def _positions(
    names: Sequence[Column], wanted: Sequence[Column] | None, optional: Collection[Column], *, name: str
) -> dict[Column, int]:
    """Return the position of each wanted column; what the others are called is nobody's concern."""
    wanted = list(names) if wanted is None else wanted
    counts = Counter(names)
    if twice := sorted(str(column) for column in set(wanted) if counts[column] > 1):
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


class _Repeated:
    """The value of a key that stands twice in an object."""


def _record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    return {key: _Repeated() if counts[key] > 1 else value for key, value in pairs}


# Numbers stay the text they are: 1e5 and 9007199254740993 would change as floats. A bare NaN is how Python writes a gap.
DECODER = json.JSONDecoder(
    object_pairs_hook=_record,
    parse_int=str,
    parse_float=str,
    parse_constant=lambda constant: None if constant == "NaN" else constant,
)


def _json_lines(content: bytes, name: str) -> list[tuple[int, Any]]:
    lines = enumerate(content.split(b"\n"), start=1)  # not splitlines: U+2028 may stand in a text
    return [(number, _decoded(line.decode(), f"{name}:{number}")) for number, line in lines if line.strip()]


def _json_array(content: bytes, name: str) -> list[tuple[int, Any]]:
    return list(enumerate(_decoded(content.decode(), name), start=1))


def _decoded(text: str, where: str) -> Any:
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: is not valid JSON: {error}. Mend it, or correct the task's format.", code="E307"
        ) from error


def _read_records(
    records: list[tuple[int, Any]], wanted: Sequence[Column] | None, optional: Collection[Column], *, name: str,
    mark: str | None,
) -> tuple[dict[Column, pa.Array], np.ndarray]:  # fmt: skip
    for number, record in records:
        if not isinstance(record, dict):
            raise DataError(f"{name}:{number}: must be an object, got {_kind(record)}. Mend the row.", code="E307")
    if mark is not None:
        records = [
            (n, record) for n, record in records if mark not in json.dumps(record, ensure_ascii=False, default=str)
        ]
    if wanted is None:
        wanted = list(dict.fromkeys(key for _, record in records for key in record))
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
    raise DataError(f"{where}: {column!r} must be text, a number or null, got {_kind(value)}. Mend it.", code="E307")


def _kind(value: Any) -> str:
    """Return what JSON calls a value; numbers have been left as text."""
    names = {dict: "an object", list: "an array", str: "a text or number", bool: "a boolean", type(None): "null"}
    if isinstance(value, _Repeated):
        return "several values: the key stands more than once"
    return names[type(value)]
