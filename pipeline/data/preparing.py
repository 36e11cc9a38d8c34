"""Raw files -> the table: texts cleaned, labels listed in fixed order, everything that cannot be right refused."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.artifacts.files import sha256_of
from pipeline.artifacts.table import FILE_COLUMNS, TABLE_COLUMNS, Reading, Table
from pipeline.contracts import TaskKind
from pipeline.data.class_targets import are_ordered, order_labels
from pipeline.data.reading import LINE, Column, read_columns
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.number_formats import number_in
from pipeline.params.tasks import Columns, Task, TextColumns
from pipeline.text.normalising import clean, normalise
from pipeline.text.templates import is_template, parse, render

TEXTS = ("text", "text_pair")
_NOTHING = pa.scalar("", pa.large_string())
logger = logging.getLogger(__name__)


def label_variants(labels: Sequence[str]) -> list[list[str]]:
    """Return labels that differ only in case, width, white space or how a number is written: most likely one label each.

    >>> label_variants(["pos", "neg", "Pos "]), label_variants(["1", "1.0", "2"])
    ([['pos', 'Pos ']], [['1', '1.0']])
    """
    alike: dict[Any, list[str]] = {}
    for label in labels:
        value = number_in(label)
        alike.setdefault(normalise(label) if value is None else value, []).append(label)
    return [spellings for spellings in alike.values() if len(spellings) > 1]


def prepare(tasks: Mapping[str, Task]) -> Table:
    """Return all rows of all tasks, of each its training, test and unlabelled file, rows in file order.

    Ids may recur between files (many organisers number each from 0); of training and test file the audit reports it.

    Raises:
        DataError: if a file cannot be read as the task says; an id recurs within a file or is empty; a training label
            is missing (unless the task says what to do then) or not in the given list; there are fewer than two
            classes, or other than two in a binary task; or a file changed while it was read.
    """
    files = sorted({f for task in tasks.values() for f in (task.train, *task.tests.values(), task.unlabelled) if f})
    before = {file: sha256_of(Path(file)) for file in files}
    frames, labels, kinds = [], {}, {}
    for name, task in tasks.items():
        kinds[name] = (task.kind.name, task.kind.options)
        train = _labelled(_read_split(task, task.train, name=name, split="train"), task, name=name)
        labels[name] = _check_labels(train[train["split"] == "train"], task, name=name)
        tests = [_read_test(task, file, path, name=name) for file, path in task.tests.items()]
        frames += [train, *tests]
        logger.info("%s: %d training and %d test rows", name, (train["split"] == "train").sum(), sum(map(len, tests)))
        if task.unlabelled is not None:
            frames.append(_read_split(task, task.unlabelled, name=name, split="unlabelled"))
    named = any(set(task.tests) - {""} for task in tasks.values())
    rows = pd.concat([frame[TABLE_COLUMNS + FILE_COLUMNS * named] for frame in frames], ignore_index=True)
    for file in files:
        if sha256_of(Path(file)) != before[file]:
            raise DataError(
                f"{file}: must stay as it is while it is read, but it changed. Run dvc repro again once it is whole."
            )
    reading = {
        name: Reading([field for fields in task.columns.fields.values() for field in fields], task.columns.swap)
        for name, task in tasks.items()
    }
    return Table(rows, labels, kinds, reading)


def _read_test(task: Task, file: str, path: str, *, name: str) -> pd.DataFrame:
    """Return a test file's rows; in front of the ids of one that has a name stands that: other files may have them too."""
    frame = _read_split(task, path, name=name, split="test").assign(file=file)
    return frame.assign(row_id=f"{file}:" + frame["row_id"]) if file else frame


def _read_split(task: Task, file: str, *, name: str, split: str) -> pd.DataFrame:
    """Return one file's rows in the table's columns, with `line`."""
    path = Path(file)
    columns = task.columns_of_test if split == "test" else task.columns
    given = columns.label if isinstance(columns.label, list) else [columns.label]
    read = columns_read(columns, header=task.header)
    more = [*(given if split == "train" else ()), *([] if columns.group is None else [columns.group])]
    wanted: list[Column] = list(dict.fromkeys([*read, *more]))
    # Groups serve the split of training rows only; many test files do not have them.
    optional = {columns.group} - {None, *read} if split != "train" and columns.group is not None else ()
    # Every row of the test file must be predicted.
    kept = split == "test" and task.encoding_errors == "drop_row"
    form = task.model_copy(update={"encoding_errors": "replace"}) if kept else task
    try:
        raw = read_columns(path, wanted, form, optional=optional, key=f"tasks.{name}")
    except DataError as error:
        if error.code != "E303" or split == "unlabelled":
            raise
        remedy = f"What only the test file has, or names in another way, goes into tasks.{name}.test_columns."
        if templates := [f"tasks.{name}.columns.{key}" for key in TEXTS if is_template(getattr(columns, key))]:
            remedy = f"{remedy} {' and '.join(templates)}: a template needs all of its columns."
        raise DataError(f"{error} {remedy}", code="E303") from error
    frame = texts_of(raw, columns)
    frame.insert(0, "line", raw[LINE])
    frame["row_id"] = frame["id_in_file"] = row_ids(raw, columns)
    frame["file"] = _empty(frame)
    frame["task"] = pd.Series(name, index=frame.index, dtype="str")
    frame["split"] = pd.Series(split, index=frame.index, dtype="str")
    frame["label"] = _cells(raw[given], task, name=name) if split == "train" else _empty(frame)
    grouped = columns.group is not None and columns.group in raw
    frame["group"] = raw[columns.group].replace("", None) if grouped else _empty(frame)
    _check_ids(frame, path=path)
    return frame


def _cells(columns: pd.DataFrame, task: Task, *, name: str) -> "pd.Series[str]":
    """Return a training file's targets as the table has them, labels renamed."""
    kind: TaskKind = task.kind.build()
    if not task.header and task.labels is not None and len(columns.columns) == len(task.labels):
        columns = columns.set_axis(task.labels, axis=1)
    if task.rename_labels:
        known = {*kind.list_labels(kind.cells(columns, {}), list(map(str, columns.columns))), *columns.to_numpy().flat}
        if absent := [label for label in task.rename_labels if label not in known]:
            raise DataError(
                f"{task.train}: tasks.{name}.rename_labels must name labels of the file, got {absent[0]!r}. Correct it.",
                code="E305",
            )
    return kind.cells(columns.rename(columns=str), task.rename_labels)


def row_ids(raw: pd.DataFrame, columns: Columns) -> pd.Series:
    """Return the ids of a file's rows (N,), or their numbers where it has none."""
    if columns.id is not None:
        return raw[columns.id]
    return pd.Series(np.arange(columns.first_id, columns.first_id + len(raw))).astype("str")


def _arrow(texts: pd.Series) -> pa.Array:
    array = pa.array(texts, pa.large_string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _empty(frame: pd.DataFrame) -> pd.Series:
    return pd.Series(None, index=frame.index, dtype="str")


def text_columns(text: Column | Sequence[Column] | None, *, header: bool) -> list[Column]:
    """Return the columns that params name as a text: one, several, or those of a template."""
    if is_template(text):
        columns = dict.fromkeys(field.column for field in parse(str(text)))
        return [column if header else int(column) for column in columns]
    return [] if text is None else [text] if isinstance(text, str | int) else list(text)


def text_of(raw: pd.DataFrame, text: Column | Sequence[Column]) -> pd.Series:
    """Return the cleaned texts of rows: of a column, of several joined by a blank, or of a template, with its marks."""
    if not is_template(text):
        return joined_texts(raw, text_columns(text, header=True))
    named = {field.column for field in parse(str(text))}
    columns = {str(column): joined_texts(raw, [column]).tolist() for column in raw.columns if str(column) in named}
    return pd.Series(render(str(text), columns), dtype="str")


def columns_read(columns: TextColumns, *, header: bool) -> list[Column]:
    """Return the columns of a file that its texts and ids are made of."""
    texts = [column for text in (columns.text, columns.text_pair) for column in text_columns(text, header=header)]
    return list(dict.fromkeys([*texts, *([] if columns.id is None else [columns.id])]))


def texts_of(raw: pd.DataFrame, columns: TextColumns) -> pd.DataFrame:
    """Return `text` and `text_pair` of a file's rows, the latter null where there are no pairs."""
    frame = pd.DataFrame({"text": text_of(raw, columns.text)})
    return frame.assign(text_pair=_empty(frame) if columns.text_pair is None else text_of(raw, columns.text_pair))


def joined_texts(raw: pd.DataFrame, columns: Sequence[Column]) -> pd.Series:
    """Return the cleaned texts of rows, several columns joined by a blank where they are not empty."""
    joined, *texts = (_arrow(raw[column]) for column in columns)
    for text in texts:
        blank = pc.if_else(pc.and_(pc.not_equal(joined, ""), pc.not_equal(text, "")), " ", "")
        joined = pc.binary_join_element_wise(joined, blank.cast(pa.large_string()), text, _NOTHING)
    return pd.Series(clean(joined).to_pandas())


def _check_ids(frame: pd.DataFrame, *, path: Path) -> None:
    empty = frame["row_id"] == ""
    if empty.any():
        line = frame.loc[empty, "line"].iloc[0]
        raise DataError(
            f"{path}:{line}: every row must have an id, got {empty.sum()} without. Mend the rows, or set columns.id: null.",
            code="E302",
        )
    twice = frame.duplicated("row_id", keep="first")
    if twice.any():
        first = frame.loc[twice, "row_id"].drop_duplicates().iloc[:5]
        repeated = "; ".join(f"{i!r} on lines {frame.loc[frame['row_id'] == i, 'line'].tolist()[:5]}" for i in first)
        same = frame.duplicated(["row_id", "text", "text_pair", "label"], keep="first")
        raise DataError(
            f"{path}: ids must be unique, got {twice.sum()} repeated rows, {(twice & ~same).sum()} of them with another text "
            f"or label: {repeated}. Remove them, or set columns.id: null.",
            code="E302",
        )


def _labelled(train: pd.DataFrame, task: Task, *, name: str) -> pd.DataFrame:
    """Return training rows, those without a label as `missing_labels` says."""
    missing = train["label"].isna()
    if not missing.any():
        return train
    if task.missing_labels == "fail":
        row = train[missing].iloc[0]
        raise DataError(
            f"{task.train}:{row['line']}: every training row must have a label, got {missing.sum()} without, first row "
            f"{row['row_id']!r}. Label them, or set tasks.{name}.missing_labels: drop or unlabelled.",
            code="E301",
        )
    logger.warning("%s: %d training rows without a label: %s", name, missing.sum(), task.missing_labels)
    if task.missing_labels == "drop":
        return train[~missing]
    # Ids of their own: those of an unlabelled file may be the same.
    ids = ("train:" + train["row_id"]).where(missing, train["row_id"])
    split = train["split"].where(~missing, "unlabelled")
    return train.assign(row_id=ids, split=split, label=train["label"].where(~missing, None))


def _check_labels(train: pd.DataFrame, task: Task, *, name: str) -> list[str]:
    """Return the task's labels in order; spellings that may be one label are only warned of."""
    kind: TaskKind = task.kind.build()
    columns = task.columns.label if isinstance(task.columns.label, list) else [task.columns.label]
    labels = list(task.labels or kind.list_labels(train["label"], [str(column) for column in columns]))
    if len(faults := kind.faults(train["label"], labels)):
        row = train.loc[faults.index[0]]
        raise DataError(
            f"{task.train}:{row['line']}: labels {faults.iloc[0]} in row {row['row_id']!r} ({len(faults)} such rows). Mend "
            f"the rows, rename it in tasks.{name}.rename_labels, or correct tasks.{name}.labels.",
            code="E305",
        )
    if fault := kind.check(train["label"], labels):
        raise DataError(
            f"{task.train}: a task of kind {task.kind.name} {fault}. Check tasks.{name}.columns.label and kind."
        )
    _check_metrics(task, n_labels=len(labels), kind=kind, name=name)
    for alike in label_variants(labels):
        logger.warning("%s: labels %s may be one label: see tasks.%s.rename_labels", task.train, alike, name)
    for reader, order in _readers_of_order(task, n_labels=len(labels)):
        if task.labels is None and not are_ordered(labels):
            raise DataError(
                f"{task.train}: labels must have an order for {reader}, as different numbers have, got {_shown(labels)} by "
                f"their spelling. List them in tasks.{name}.labels, {order}."
            )
        if are_ordered(labels) and labels not in (in_order := order_labels(labels), in_order[::-1]):
            logger.warning("tasks.%s.labels: %s reads their order, and %s is not that of numbers", name, reader, labels)
    return labels


def _check_metrics(task: Task, *, n_labels: int, kind: TaskKind, name: str) -> None:
    """Build the metrics: what is not for so many labels is refused before anything is trained."""
    try:
        for metric in [task.metric, *task.report_metrics]:
            metric.build(n_outputs=n_labels, decide=kind.decide)
    except ParamsError as error:
        raise ParamsError(f"tasks.{name}: {error}", code=error.code) from error


def _readers_of_order(task: Task, *, n_labels: int) -> Iterator[tuple[str, str]]:
    """Yield what of a task reads the order of its labels, and the order that it takes them to have."""
    if order := task.kind.constant("ORDER"):
        yield f"kind {task.kind.name}", order
    for metric in [task.metric, *task.report_metrics]:
        if order := metric.by_option("ORDER"):
            yield metric.name, order
    form = task.submission.format
    is_one_of_two = n_labels == 2 and task.submit and not task.kind.constant("SEVERAL_COLUMNS")
    for value in form.options.values() if is_one_of_two else ():
        if isinstance(value, str) and (order := (form.constant("ORDER") or {}).get(value)):
            yield f"a submission of {value}", order


def _shown(labels: Sequence[str]) -> str:
    return f"{list(labels[:10])}{f' and {len(labels) - 10} more' if len(labels) > 10 else ''}"
