"""The fold manifest: which fold each training row is scored in; made once, its digest names it everywhere."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.artifacts.frames import read_frame, write_frame
from pipeline.artifacts.paths import FOLDS

HOLDOUT_FOLD = -1
TRAIN_FOLD = -2
FOLDS_COLUMNS = ["row_id", "task", "repeat", "fold", "cluster"]


@dataclass(frozen=True)
class Folds:
    """The fold manifest: `row_id, task, repeat, fold, cluster`; `fold` is -1 for the untouched hold-out.

    It is -2 for rows that every model trains on and none is scored on: the only ones of their class.

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
