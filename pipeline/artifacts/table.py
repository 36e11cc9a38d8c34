"""The table of all rows, and the fold manifest: in which fold each row is scored, made once; its digest names it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import components
from pipeline.artifacts.frames import read_frame, write_frame
from pipeline.artifacts.paths import FOLDS, TABLE
from pipeline.contracts import TaskKind
from pipeline.errors.exceptions import DataError

TABLE_COLUMNS = ["row_id", "task", "split", "text", "text_pair", "label", "group"]
FILE_COLUMNS = ["file", "id_in_file"]  # where test files have names: that of a test row's file, and what ids are there
HOLDOUT_FOLD = -1
TRAIN_FOLD = -2
FOLDS_COLUMNS = ["row_id", "task", "repeat", "fold", "cluster"]


@dataclass(frozen=True)
class Reading:
    """How models read a task's texts: the columns of their fields, the second text's after the first's; in both orders?"""

    fields: list[str] = field(default_factory=list)
    swap: bool = False


@dataclass(frozen=True)
class Table:
    """All rows of all tasks: `row_id, task, split (train|test|unlabelled), text, text_pair, label, group`.

    `row_id` is unique within a task and split; where test files have names, `FILE_COLUMNS` say of which a row is. Missing
    values (test labels, no pair, no group) are null. `labels` holds each task's labels in fixed order, `kinds` the name and
    options of its component of `task_kinds/`, `reading` how its texts are read.
    """

    rows: pd.DataFrame
    labels: dict[str, list[str]]
    kinds: Mapping[str, tuple[str, dict[str, Any]]]
    reading: Mapping[str, Reading] = field(default_factory=dict)

    def select(self, task: str, split: str) -> pd.DataFrame:
        """Return one task's rows of one split, in file order, with a fresh index."""
        chosen = (self.rows["task"] == task) & (self.rows["split"] == split)
        return self.rows[chosen].reset_index(drop=True)

    def test_files(self, task: str) -> dict[str, pd.DataFrame]:
        """Return one task's test rows, with `id_in_file`, by the name of their file, which is empty where it has none."""
        rows = self.select(task, "test")
        if FILE_COLUMNS[0] not in rows:
            rows = rows.assign(file="", id_in_file=rows["row_id"])
        return {str(name): part.reset_index(drop=True) for name, part in rows.groupby("file", sort=False)}

    def only(self, *splits: str) -> "Table":
        """Return the table with the rows of these splits alone."""
        return replace(self, rows=self.rows[self.rows["split"].isin(splits)])

    def kind(self, task: str) -> TaskKind:
        """Return a task's kind."""
        name, options = self.kinds[task]
        kind: TaskKind = components.build("task_kinds", name, options)
        return kind

    def targets(self, task: str, rows: pd.DataFrame) -> np.ndarray:
        """Return what a task's rows, which have `row_id` and `label`, are trained and scored on: (N, …), read by its kind.

        Raises:
            DataError: if a label is none of the task's.
        """
        kind, labels = self.kind(task), self.labels[task]
        if len(faults := kind.faults(rows["label"], labels)):
            row_id, fault = rows.loc[faults.index[0], "row_id"], faults.iloc[0]
            raise DataError(
                f"table: task {task}, row {row_id!r}: label {fault}. Make the table again: dvc repro prepare"
            )
        return kind.read(rows["label"], labels)


def write_table(table: Table, path: Path = TABLE) -> None:
    """Write the table with its labels and kinds of tasks in the file's metadata."""
    reading = {task: asdict(of_task) for task, of_task in table.reading.items()}
    metadata = {"labels": table.labels, "kinds": table.kinds, "reading": reading}
    columns = [*TABLE_COLUMNS, *(name for name in FILE_COLUMNS if name in table.rows)]
    write_frame(path, table.rows[columns], metadata)


def read_table(path: Path = TABLE) -> Table:
    """Read the table."""
    rows, metadata, _ = read_frame(path)
    reading = {task: Reading(**of_task) for task, of_task in metadata.get("reading", {}).items()}
    return Table(rows, metadata["labels"], metadata["kinds"], reading)


@dataclass(frozen=True)
class Folds:
    """The fold manifest: `row_id, task, repeat, fold, cluster`; `fold` is -1 for the untouched hold-out.

    It is -2 for rows that every model trains on and none is scored on: the only ones of their class, and those that
    `folds.score_where` does not take.

    Rows of one cluster (same group, or near-duplicates) share a fold in every repeat. `digest` names this manifest in
    everything made from it.
    """

    rows: pd.DataFrame
    digest: str

    def select(self, task: str, repeat: int) -> pd.DataFrame:
        """Return one task's rows of one repeat with a fresh index."""
        chosen = (self.rows["task"] == task) & (self.rows["repeat"] == repeat)
        return self.rows[chosen].reset_index(drop=True)


def write_folds(rows: pd.DataFrame, path: Path = FOLDS) -> None:
    """Write the fold manifest."""
    write_frame(path, rows[FOLDS_COLUMNS], {})


def read_folds(path: Path = FOLDS) -> Folds:
    """Read the fold manifest with its digest."""
    rows, _, digest = read_frame(path)
    return Folds(rows, digest)


def in_both_orders(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of pairs, and after all of them the same rows with their texts the other way round."""
    swapped = rows.rename(columns={"text": "text_pair", "text_pair": "text"})
    return pd.concat([rows, swapped[rows.columns]], ignore_index=True)
