"""How each file of a folder is written, and its first rows: looked at in the head of the file, however large it is."""

import codecs
import gzip
import io
import math
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.archives import DAMAGED_ARCHIVE
from pipeline.data.delimited import KNOWN_SEPARATORS, Dialect, parse_delimited
from pipeline.data.reading import LINE, SEPARATORS, SUFFIXES, read_columns
from pipeline.data.text_encodings import BOMS, likely_encodings
from pipeline.errors.exceptions import DataError, PipelineError
from pipeline.params.tasks import FileForm

HEAD_BYTES = 1 << 23
MOST_ROWS = 1 << 16  # of parquet, which is read by rows
MOST_CUTS = 1000
PACKED = (".gz", ".zip")
PLAIN = (".txt", ".dat", ".data")
LONGEST_NAME = 60  # of a column, in characters; a text is longer


@dataclass(frozen=True)
class RawFile:
    """A file of rows: how it is written, its first rows as text, and whether these are all."""

    path: Path
    form: FileForm
    rows: pd.DataFrame
    is_whole: bool

    @cached_property
    def columns(self) -> list[Any]:
        """The names of the columns, or their positions."""
        return list(self.rows)

    def values(self, column: str | int) -> set[str]:
        """Return the distinct values of a column among the rows that were looked at."""
        return set(self.rows[column])


def find_files(folder: Path) -> list[Path]:
    """Return what may hold rows in a folder and those in it, by the names, sorted."""
    found = [path for path in folder.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return sorted(path for path in found if path.is_file() and _suffix(path) in (*SUFFIXES, *PLAIN))


def read_head(path: Path, form: FileForm | None = None) -> RawFile:
    """Look at a file: find out how it is written, unless `form` says it, and read its first rows.

    Csv and tsv are read as without a header, which `with_names` adds.

    Raises:
        DataError: if it is not text, or in no form that is known.
    """
    try:
        head, is_whole = _parquet_head(path) if _suffix(path) == ".parquet" else _head(path)
    except PipelineError:
        raise
    except (*DAMAGED_ARCHIVE, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}. Fetch the file again.") from error
    if _suffix(path) != ".parquet":
        said = form.model_dump(exclude_unset=True) if form else _encoding(path, head, is_whole)
        head = _as_utf8(path, head, is_whole, **said)
        form = form or FileForm.model_validate(said | _layout(path, head, is_whole))
    form = form or FileForm()
    plain = form.model_copy(update={"encoding": "utf-8", "header": False})
    with tempfile.TemporaryDirectory() as folder:
        copy, problem = Path(folder) / f"head{_suffix(path)}", None
        for content in (head,) if is_whole or _suffix(path) == ".parquet" else _cuts(head, quoting=form.quoting):
            copy.write_bytes(content)
            try:
                rows = read_columns(copy, None, plain).drop(columns=LINE)
            except DataError as error:
                problem = problem or error
            else:
                return RawFile(path, form, rows, is_whole)
    text = str(problem or f"{path}: must hold rows of text, got none. Remove it.").replace(str(copy), str(path))
    raise DataError(text, code=problem.code if problem else None) from problem


def _suffix(path: Path) -> str:
    """Return the end of a name that tells the format, `.csv` of `train.csv.gz`."""
    inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return inner.suffix.lower() or (".csv" if inner != path else "")


def _head(path: Path) -> tuple[bytes, bool]:
    """Return the first bytes of a file, unpacked, and whether these are all."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
            if len(members) != 1:
                raise DataError(f"{path}: must hold one file, got {len(members)}. Unpack it.", code="E308")
            with archive.open(members[0]) as file:
                content = file.read(HEAD_BYTES + 1)
    else:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(HEAD_BYTES + 1)
    return content[:HEAD_BYTES], len(content) <= HEAD_BYTES


def _parquet_head(path: Path) -> tuple[bytes, bool]:
    buffer = io.BytesIO()
    with path.open("rb") as opened:
        file = pq.ParquetFile(opened)
        batch = next(file.iter_batches(batch_size=MOST_ROWS), None)
    if batch is None:
        raise DataError(f"{path}: must hold at least one row, got none. Put the competition's file there.")
    pq.write_table(pa.Table.from_batches([batch]), buffer)
    return buffer.getvalue(), len(batch) == file.metadata.num_rows


def _cuts(head: bytes, *, quoting: bool) -> Iterator[bytes]:
    """Yield the head of a file cut where a row may end, the longest first: a line end may stand within quotes."""
    is_array = head.lstrip()[:1] == b"["
    end, closing = (b"}", b"]") if is_array else (b"\n", b"")
    place = len(head)
    for _ in range(MOST_CUTS):
        place = head.rfind(end, 0, place)
        if place <= 0:
            return
        if is_array or not quoting or head.count(b'"', 0, place) % 2 == 0:
            yield head[: place + 1] + closing


def _encoding(path: Path, head: bytes, is_whole: bool) -> dict[str, Any]:
    """Return the options of `FileForm` that say in which encoding a file is, none for UTF-8."""
    if wide := next((encoding for mark, encoding in BOMS.items() if head.startswith(mark)), None):
        return {"encoding": wide}
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=is_whole)
    except UnicodeDecodeError as error:
        text = head.decode("utf-8", "replace")
        if sum(character > "\x7f" for character in text) >= 3 * text.count("\ufffd"):  # mostly text: see text_encodings
            return {"encoding_errors": "replace"}
        if guess := next(iter(likely_encodings(head, error.start)), None):
            return {"encoding": guess}
        raise DataError(
            f"{path}: must be text, got other bytes at byte {error.start}. Remove it, or convert it."
        ) from error
    return {}


def _as_utf8(
    path: Path, head: bytes, is_whole: bool, *, encoding: str = "utf-8", encoding_errors: str = "", **_: Any
) -> bytes:
    """Return the head of a file, whose last character may be cut, as UTF-8 without its byte order mark."""
    errors = "replace" if encoding_errors or not is_whole else "strict"
    try:
        return head.decode(encoding, errors).removeprefix("\ufeff").encode("utf-8", "replace")
    except UnicodeDecodeError as error:
        text = f"{path}: must be {encoding.upper()}, got other bytes at byte {error.start}. Convert it."
        raise DataError(text, code="E304") from error


def _layout(path: Path, text: bytes, is_whole: bool) -> dict[str, Any]:
    """Return the options that say how rows and fields are told apart, those that the name and the defaults do not say."""
    first, named = text.lstrip()[:1], SUFFIXES.get(_suffix(path))
    if first in (b"{", b"["):
        kind = "json" if first == b"[" else "jsonl"
        return {} if named in (kind, "json") else {"format": kind}
    dialect = _dialect(text, is_whole)
    kind = "tsv" if dialect.separator == SEPARATORS["tsv"] else "csv"
    said: dict[str, Any] = {} if kind == named else {"format": kind}
    said |= {} if dialect.separator in SEPARATORS.values() else {"separator": dialect.separator}
    return (
        said | ({} if dialect.quoting else {"quoting": False}) | ({"escape": dialect.escape} if dialect.escape else {})
    )


def _dialect(text: bytes, is_whole: bool) -> Dialect:
    """Return how fields are told apart: of what reads all rows what finds most columns, quotes taken as such first."""
    for quoting, escape in ((True, None), (True, "\\"), (False, None)):
        content = text if is_whole else next(_cuts(text, quoting=quoting), text)
        found: dict[int, Dialect] = {}
        for separator in KNOWN_SEPARATORS:
            dialect = Dialect(separator, quoting, escape)
            with suppress(DataError):
                found.setdefault(parse_delimited(content, dialect).n_columns, dialect)
        if max(found, default=0) > 1:
            return found[max(found)]
    return Dialect()


def with_names(file: RawFile, header: bool) -> RawFile:
    """Return a file with its first row as the names of its columns, if it has a header."""
    if not isinstance(file.columns[0], int):
        return file
    if header and len(file.rows) < 2:
        text = (
            f"{file.path}: must hold rows below the names of its columns, got none. Put the competition's file there."
        )
        raise DataError(text)
    if not header:
        return replace(file, form=file.form.model_copy(update={"header": False}))
    return replace(file, rows=file.rows[1:].set_axis(file.rows.iloc[0].tolist(), axis=1).reset_index(drop=True))


def has_header(file: RawFile) -> bool:
    """Return whether a file begins with the names of its columns: short, all different, no numbers and nowhere a value."""
    if not isinstance(file.columns[0], int):
        return True
    names, rows = file.rows.iloc[0].tolist(), file.rows[1:]
    if len(set(names)) < len(names) or any(is_number(name) or not 0 < len(name) <= LONGEST_NAME for name in names):
        return False
    return not any((rows[place] == name).any() for place, name in enumerate(names))


def is_number(text: str) -> bool:
    """Return whether a text is a number.

    >>> is_number("1e5"), is_number("nan"), is_number("a1")
    (True, False, False)
    """
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
