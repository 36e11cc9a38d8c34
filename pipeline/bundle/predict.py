"""The command `stitchfold predict`: texts of a file in any form that a task's may have, and an exported model's answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from pipeline.bundle.predictor import load_bundle
from pipeline.data.preparing import joined_texts
from pipeline.data.reading import Column, read_columns
from pipeline.errors.exceptions import DataError, ParamsError, shown
from pipeline.params.tasks import FileForm, setting

COLUMNS = "In this command the columns are --text-column, --pair-column and --id-column."


def predict(
    model: Path,
    path: Path,
    *,
    text_columns: Sequence[str],
    pair_column: str | None,
    id_column: str | None,
    **options: Any,
) -> pd.DataFrame:
    """Return the ids of a file's rows, if asked for, and an exported model's answers.

    Args:
        model: the folder of an export.
        path: the file of texts.
        text_columns: names, or positions from 0 where the file has no header; several are joined by a blank.
        pair_column, id_column: those of the second text and of the id, or None.
        options: those of `FileForm`: how the file is written.

    Raises:
        DataError: if the file cannot be read so, which shows before the model is loaded, or the folder is no whole export.
        ParamsError: if an option is wrong, a column is no position, or a model of pairs is given none, or another one is.
    """
    form = _form_of(**options)
    texts = [_place(column, "--text-column", form) for column in text_columns]
    pair = None if pair_column is None else _place(pair_column, "--pair-column", form)
    row_id = None if id_column is None else _place(id_column, "--id-column", form)
    wanted = [column for column in (row_id, *texts, pair) if column is not None]
    try:
        rows = read_columns(path, list(dict.fromkeys(wanted)), form, key="--")
    except DataError as error:
        if error.code != "E303":
            raise
        raise DataError(f"{error} {COLUMNS}", code=error.code) from error
    first, second = joined_texts(rows, texts).tolist(), None if pair is None else joined_texts(rows, [pair]).tolist()
    exported = load_bundle(model)
    pairs = exported.description["reading"]["columns"]["text_pair"] is not None
    if pairs != (second is not None):
        kind, remedy = (
            ("single texts", "Leave it out") if second is not None else ("pairs", "Name the second text's column")
        )
        raise ParamsError(f"--pair-column: {model} reads {kind}. {remedy}.")
    frame = exported.predict_frame(first, second)
    if row_id is not None:
        frame.insert(0, "id" if isinstance(row_id, int) else row_id, rows[row_id], allow_duplicates=True)
    return frame


def _form_of(**options: Any) -> FileForm:
    try:
        return FileForm(**options)
    except ValidationError as error:
        first = error.errors()[0]
        option = setting("--", str(first["loc"][0]))
        raise ParamsError(f"{option}: {first['msg'].lower()}, got {shown(first['input'])}. Correct it.") from error


def _place(column: str, option: str, form: FileForm) -> Column:
    """Return what addresses a column: its name, or without a header its position."""
    if form.header:
        return column
    if not (column.isascii() and column.isdigit()):
        raise ParamsError(f"{option}: without a header columns are positions from 0, got {column!r}. Give its number.")
    return int(column)
