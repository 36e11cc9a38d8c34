"""The command `stitchfold predict`: texts of a file in any form that a task's may have, and an exported model's answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.data.preparing import joined_texts
from pipeline.data.reading import Column, read_columns
from pipeline.errors.exceptions import DataError, ParamsError

OPTIONS = (
    "Of this command the columns are --text-column, --pair-column and --id-column, and what params.yaml says of a task's "
    "files is --format, --encoding, --no-header and --no-quoting."
)


def predict(
    model: Path, path: Path, *, text_columns: Sequence[str], pair_column: str | None, id_column: str | None, **form: Any
) -> pd.DataFrame:
    """Return the ids of a file's rows, if asked for, and an exported model's answers.

    Args:
        model: the folder of an export.
        path: the file of texts.
        text_columns: names, or positions from 0 where the file has no header; several are joined by a blank.
        pair_column, id_column: those of the second text and of the id, or None.
        form: `format`, `encoding`, `header` and `quoting`, as a task has them.

    Raises:
        DataError: if the file cannot be read so, which shows before the model is loaded, or the folder is no whole export.
        ParamsError: if a column is no position, or pairs are given to a model of single texts or the other way round.
    """
    texts = [_place(column, "--text-column", **form) for column in text_columns]
    pair, row_id = (
        None if column is None else _place(column, option, **form)
        for column, option in ((pair_column, "--pair-column"), (id_column, "--id-column"))
    )
    try:
        rows = read_columns(path, list(dict.fromkeys(c for c in (row_id, *texts, pair) if c is not None)), **form)
    except (DataError, ParamsError) as error:
        raise type(error)(f"{error} {OPTIONS}", code=error.code) from error
    first, second = joined_texts(rows, texts).tolist(), None if pair is None else joined_texts(rows, [pair]).tolist()
    from pipeline.bundle.exported_model import load_exported  # imports torch: only once there are texts

    exported = load_exported(model)
    if exported.description["pairs"] != (second is not None):
        kind, remedy = (
            ("single texts", "Leave it out") if second is not None else ("pairs", "Name the second text's column")
        )
        raise ParamsError(f"--pair-column: {model} reads {kind}. {remedy}.")
    frame = exported.predict_frame(first, second)
    if row_id is not None:
        frame.insert(0, "id" if isinstance(row_id, int) else row_id, rows[row_id], allow_duplicates=True)
    return frame


def _place(column: str, option: str, *, header: bool, **_: Any) -> Column:
    """Return what addresses a column: its name, or without a header its position."""
    if header:
        return column
    if not (column.isascii() and column.isdigit()):
        raise ParamsError(f"{option}: without a header columns are positions from 0, got {column!r}. Give its number.")
    return int(column)
