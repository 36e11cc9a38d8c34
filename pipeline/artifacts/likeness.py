"""How like the test file's rows each row is: what `prepare` learns of both files' texts, for split, stack and report."""

from typing import Any, TypedDict

import pandas as pd

from pipeline.artifacts.frames import read_frame, write_frame
from pipeline.artifacts.paths import LIKENESS

LIKENESS_COLUMNS = ["task", "split", "row_id", "cluster", "log_odds", "marked"]


class TellingWord(TypedDict):
    """A word, or two in a row, with the shares of training and of test texts that hold it."""

    word: str
    train: float
    test: float


class Likeness(TypedDict):
    """How well a classifier tells a task's test rows from its training rows, by their texts alone.

    `auc` has its 95 % interval; all three are None where there are too few rows to know. `shifted`: test rows are surely of
    another kind, by enough to matter.
    """

    auc: Any  # float | None
    low: Any
    high: Any
    shifted: bool
    telling: list[TellingWord]


def write_likeness(rows: pd.DataFrame, tasks: dict[str, Likeness]) -> None:
    """Write what is known of the rows (see `read_likeness`) and, in the file's metadata, of each task."""
    write_frame(LIKENESS, rows[LIKENESS_COLUMNS], {"tasks": tasks})


def read_likeness() -> tuple[pd.DataFrame, dict[str, Likeness]]:
    """Return `task, split, row_id, cluster, log_odds, marked` of all training and test rows, and what is known of each task.

    `cluster` is the row's near-duplicate cluster over training and test rows of its task. `log_odds` is the logarithm of how
    much more often such a text stands in the test file than in the training file, their sizes aside; 0 where that cannot be
    known. `marked` is False where the column that `folds.score_where` names says so.
    """
    rows, metadata, _ = read_frame(LIKENESS)
    return rows, metadata["tasks"]
