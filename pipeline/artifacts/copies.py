"""Augmented copies as an artifact, and leak rule 1 where they are used: with training rows only, far from what is scored."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from pipeline.artifacts.frames import read_frame, write_frames
from pipeline.artifacts.paths import FOLDS, OUT
from pipeline.errors.exceptions import DataError
from pipeline.text.normalising import normalise

FOLDER = OUT / "augment"
COPIES = FOLDER / "copies.parquet"
BARRED = FOLDER / "barred.parquet"
UNLABELLED = FOLDER / "unlabelled.parquet"
SUMMARY = FOLDER / "augment.json"
TEXT, NUMBER, MEASURE = pa.large_string(), pa.int64(), pa.float64()
COPIES_SCHEMA = pa.schema(
    {
        "copy_id": TEXT, "row_id": TEXT, "task": TEXT, "repeat": NUMBER, "fold": NUMBER, "label": TEXT, "text": TEXT,
        "text_pair": TEXT, "augmenter": TEXT, "seed": NUMBER, "edit_distance": NUMBER, "similarity": MEASURE,
    }
)  # fmt: skip
BARRED_SCHEMA = pa.schema({"copy_id": TEXT, "task": TEXT, "repeat": NUMBER, "fold": NUMBER, "reason": TEXT})
UNLABELLED_SCHEMA = pa.schema(dict.fromkeys(("task", "text", "text_pair", "variant", "variant_pair"), TEXT))
SCHEMAS = {COPIES: COPIES_SCHEMA, BARRED: BARRED_SCHEMA, UNLABELLED: UNLABELLED_SCHEMA}
AGAIN = "Make it again: dvc repro --force --single-item augment"


@dataclass(frozen=True)
class Copies:
    """Copies of training rows, and the folds in which they may not be used.

    `rows`: `copy_id, row_id` (of the parent), `task, repeat, fold` (in which the parent lies), `label` (the parent's), `text,
    text_pair, augmenter, seed, edit_distance, similarity` (null where none was asked for). A copy is made from rows of its
    parent's fold alone, so it belongs wherever that fold is trained on. `barred`: `copy_id, task, repeat, fold, reason`: not
    in training for that fold. `unlabelled`: `task, text, text_pair, variant, variant_pair` of rows without a label.
    """

    rows: pd.DataFrame
    barred: pd.DataFrame
    unlabelled: pd.DataFrame

    def of_fold(self, task: str, repeat: int, fold: int) -> pd.DataFrame:
        """Return the copies that the training for a fold may use."""
        copies = self.rows.query("task == @task and repeat == @repeat and fold != @fold")
        barred = self.barred.query("task == @task and repeat == @repeat and fold == @fold")
        return copies[~copies["copy_id"].isin(barred["copy_id"])].reset_index(drop=True)


def no_copies() -> Copies:
    """Return the copies of a competition without augmentation."""
    return Copies(*(schema.empty_table().to_pandas() for schema in SCHEMAS.values()))


def write_part(path: Path, frames: Iterable[pd.DataFrame], *, manifest: str, folder: Path = FOLDER) -> None:
    """Write one of the three tables, frame by frame, with the digest of the fold manifest that it belongs to."""
    write_frames(folder / path.name, frames, SCHEMAS[path], {"manifest": manifest})


def read_copies(*, manifest: str, folder: Path = FOLDER) -> Copies:
    """Read the three tables.

    Raises:
        DataError: if they were made from another fold manifest.
    """
    frames = []
    for path in SCHEMAS:
        frame, metadata, _ = read_frame(folder / path.name)
        if metadata["manifest"] != manifest:
            raise DataError(
                f"{folder / path.name}: was made from the fold manifest {metadata['manifest'][:12]}…, but "
                f"{FOLDS} is {manifest[:12]}…. Make it again: dvc repro augment"
            )
        frames.append(frame)
    return Copies(*frames)


def check_leaks(copies: pd.DataFrame, *, fitted_ids: "pd.Series[str]", unseen: pd.DataFrame, fold: str) -> None:
    """Refuse copies that the training for a fold may not use.

    `fitted_ids` are those of the fold's training rows, `unseen` has `text, text_pair` of the rows that are scored: the
    fold's own and the hold-out's.

    Raises:
        DataError: if a copy's parent is no training row, or its text equals that of a row that is scored.
    """
    if not len(copies):
        return
    strangers = ~copies["row_id"].isin(fitted_ids)
    leaks = strangers | normalised(copies).isin(set(normalised(unseen)))
    if leaks.any():
        row = copies[leaks].iloc[0]
        reason = "its parent is no training row" if strangers[leaks].iloc[0] else "its text is that of a scored row"
        raise DataError(
            f"{COPIES}: no copy may leak into {fold}, got {leaks.sum()}, first {row['copy_id']!r} of row "
            f"{row['row_id']!r}: {reason}. {AGAIN}"
        )


def normalised(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return what rows are compared by: their texts after `normalise`, of pairs both in either order."""
    pairs = zip(rows["text"], rows["text_pair"], strict=True)
    texts = ["\n".join(sorted(map(normalise, [a, b] if isinstance(b, str) else [a]))) for a, b in pairs]
    return pd.Series(texts, rows.index, dtype=object)
