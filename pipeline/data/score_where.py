"""Which training rows are scored, `folds.score_where`: all, those a column marks, or those that are like the test file's."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.preparing import row_ids
from pipeline.data.reading import LINE, read_columns
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.tasks import TEST_LIKE, Task

logger = logging.getLogger(__name__)
MARKS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
TEST_QUANTILE = 0.25  # rows are like test rows from here on: what a quarter of these themselves do not reach


def read_marks(rows: pd.DataFrame, tasks: Mapping[str, Task], *, score_where: str | int | None) -> np.ndarray:
    """Return which rows, of `task, split, row_id`, the column of the training files marks, bool (N,).

    True for test rows, and for all rows where `score_where` names no column.

    Raises:
        DataError: if a training file has no such column, or another value in it than true, false, yes, no, 1 or 0.
    """
    marked = np.ones(len(rows), bool)
    if score_where is None or score_where == TEST_LIKE:
        return marked
    for name, task in tasks.items():
        of_file = _marks_of_file(task, score_where, key=f"tasks.{name}")
        train = ((rows["task"] == name) & (rows["split"] == "train")).to_numpy()
        marked[train] = rows.loc[train, "row_id"].map(of_file)
    return marked


def _marks_of_file(task: Task, column: str | int, *, key: str) -> pd.Series:
    """Return by row id whether the row is marked."""
    wanted = [column] if task.columns.id is None else [column, task.columns.id]
    raw = read_columns(Path(task.train), wanted, task, optional=[column], key=key)
    if column not in raw:
        raise DataError(
            f"folds.score_where: must be {TEST_LIKE} or a column of {task.train}, got {column!r}. Correct it.",
            code="E303",
        )
    marks = raw[column].str.strip().str.lower().map(MARKS)
    if (unreadable := marks.isna()).any():
        row = raw[unreadable].iloc[0]
        raise DataError(
            f"{task.train}:{row[LINE]}: column {column!r}, which folds.score_where names, must hold {', '.join(MARKS)}, "
            f"got {row[column]!r} ({unreadable.sum()} such rows). Mend them, or set folds.score_where: null."
        )
    return pd.Series(marks.to_numpy(bool), index=row_ids(raw, task.columns))


def wanted_rows(rows: pd.DataFrame, likeness: pd.DataFrame, *, score_where: str | int | None) -> np.ndarray:
    """Return which of one task's training rows are to be scored, bool (N,).

    `likeness` has `task, split, row_id, log_odds, marked` (`read_likeness`). Where nothing tells test rows from training
    rows, all of these are like them.

    Raises:
        ParamsError: if none is.
    """
    if score_where is None:
        return np.ones(len(rows), bool)
    known = likeness[likeness["task"] == rows["task"].iloc[0]]
    is_test = known["split"] == "test"
    if score_where == TEST_LIKE and is_test.any():
        wanted = known["log_odds"] >= known.loc[is_test, "log_odds"].quantile(TEST_QUANTILE)
    else:
        wanted = known["marked"]
    wanted = rows["row_id"].map(wanted[~is_test].set_axis(known.loc[~is_test, "row_id"])).to_numpy(bool)
    logger.info("%s: %d of %d training rows are to be scored", rows["task"].iloc[0], wanted.sum(), len(wanted))
    if not wanted.any():
        raise ParamsError(
            f"folds.score_where: must take rows of task {rows['task'].iloc[0]} to score, got none by {score_where!r}. "
            "Set it to null.",
            code="E203",
        )
    return wanted
