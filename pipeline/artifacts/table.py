"""The table: all rows of all tasks, and the labels of each task in fixed order."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.artifacts.files import read_frame, write_frame
from pipeline.artifacts.paths import TABLE

TABLE_COLUMNS = ["row_id", "task", "split", "text", "text_pair", "label", "group"]


@dataclass(frozen=True)
class Table:
    """All rows of all tasks: `row_id, task, split (train|test|unlabelled), text, text_pair, label, group`, and the labels.

    `row_id` is unique within a task and split. Missing values (test labels, no pair, no group) are null.
    """

    rows: pd.DataFrame
    labels: dict[str, list[str]]

    def select(self, task: str, split: str) -> pd.DataFrame:
        """Return one task's rows of one split, in file order, with a fresh index."""
        chosen = (self.rows["task"] == task) & (self.rows["split"] == split)
        return self.rows[chosen].reset_index(drop=True)


def write_table(table: Table, path: Path = TABLE) -> None:
    """Write the table with its labels in the file's metadata."""
    write_frame(path, table.rows[TABLE_COLUMNS], {"labels": table.labels})


def read_table(path: Path = TABLE) -> Table:
    """Read the table."""
    rows, metadata, _ = read_frame(path)
    return Table(rows, metadata["labels"])
