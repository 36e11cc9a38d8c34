"""Predictions as an artifact, the contract between base models and the ensemble, and the probabilities in them by row id."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.artifacts.frames import read_frame, write_frame
from pipeline.artifacts.paths import FOLDS
from pipeline.contracts import TaskKind
from pipeline.errors.exceptions import DataError

LOGIT = "logit:"
FLOOR = 1e-6  # a probability of exactly zero must not drown the other columns
PREDICTION_COLUMNS = ["row_id", "task", "split", "repeat", "fold"]


@dataclass(frozen=True)
class Predictions:
    """One model's predictions for one task: the contract between base models and the ensemble.

    `rows` has `row_id, task, split (oof|test|holdout), repeat, fold`; `logits` is float32 of shape (rows, labels), in the
    order of `labels`, of which the task's kind makes probabilities (a model of probabilities stores their logarithms). Each
    training row stands once per repeat as oof, in its own fold; each test and hold-out row once per fold and repeat.
    """

    model: str
    task: str
    labels: list[str]
    rows: pd.DataFrame
    logits: np.ndarray
    manifest: str
    recipe: str
    seed: int


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write predictions in the common contract.

    Raises:
        DataError: if a value is not finite, or a training row does not stand exactly once per repeat.
    """
    check_predictions(predictions)
    rows = predictions.rows[PREDICTION_COLUMNS].reset_index(drop=True)
    columns = [LOGIT + label for label in predictions.labels]
    logits = pd.DataFrame(predictions.logits.astype(np.float32), columns=columns)
    names = ("model", "task", "labels", "manifest", "recipe", "seed")
    write_frame(path, pd.concat([rows, logits], axis=1), {name: getattr(predictions, name) for name in names})


def read_predictions(path: Path, *, manifest: str | None) -> Predictions:
    """Read predictions, refusing those made from another fold manifest (None takes any).

    Raises:
        DataError: if the manifest's digest is another one, or the file breaks the contract.
    """
    table, metadata, _ = read_frame(path)
    if manifest is not None and metadata["manifest"] != manifest:
        raise DataError(
            f"{path}: was made from the fold manifest {metadata['manifest'][:12]}…, but {FOLDS} is {manifest[:12]}…. "
            "Run dvc repro."
        )
    logits = table[[LOGIT + label for label in metadata["labels"]]].to_numpy(np.float32)
    predictions = Predictions(**metadata, rows=table[PREDICTION_COLUMNS], logits=logits)
    check_predictions(predictions)
    return predictions


def check_predictions(predictions: Predictions) -> None:
    """Check that all values are finite and that no row stands twice in a split, repeat and (but for oof) fold."""
    if predictions.logits.shape != (len(predictions.rows), len(predictions.labels)):
        raise DataError(
            f"predictions of {predictions.model}: logits must have shape (rows, labels) = "
            f"({len(predictions.rows)}, {len(predictions.labels)}), got {predictions.logits.shape}. Write as many."
        )
    finite = np.isfinite(predictions.logits).all(axis=1)
    if not finite.all():
        row = predictions.rows["row_id"].iloc[int(np.argmin(finite))]
        raise DataError(
            f"predictions of {predictions.model}: must be finite, got {(~finite).sum()} rows that are not, first {row!r}. "
            "Lower the model's learning rate, or use precision fp32."
        )
    is_oof = predictions.rows["split"] == "oof"
    for chosen, keys in ((is_oof, ["row_id", "repeat"]), (~is_oof, ["row_id", "repeat", "split", "fold"])):
        rows = predictions.rows[chosen]
        twice = rows.duplicated(keys)
        if twice.any():
            row = rows.loc[twice, "row_id"].iloc[0]
            raise DataError(
                f"predictions of {predictions.model}: each row must stand once per {keys[1:]}, got {row!r} twice. "
                "Make them again with each row once."
            )


def log_columns(probabilities: np.ndarray) -> np.ndarray:
    """Return the log-probabilities of all models side by side, (N, M * C) for probabilities (N, M, C).

    >>> log_columns(np.array([[[1.0, 0.0]]])).round(1).tolist()
    [[0.0, -13.8]]
    """
    return np.log(probabilities.clip(FLOOR, 1)).reshape(len(probabilities), -1)


def probabilities_of(
    predictions: Predictions,
    split: str,
    row_ids: list[str],
    *,
    kind: TaskKind,
    repeat: int | None = None,
    fold: int | None = None,
) -> np.ndarray:
    """Return probabilities, a float64 array (len(row_ids), labels), of a split's rows in the order of `row_ids`.

    A row that stands several times (once per fold or repeat) gets the mean of its probabilities, which the link of the
    task's `kind` gives. `split` is oof, test or holdout; of `repeat` and `fold`, None takes all.

    Raises:
        DataError: if a row has no prediction.
    """
    rows = predictions.rows
    positions = rows["row_id"].map({row_id: position for position, row_id in enumerate(row_ids)})
    chosen = positions.notna().to_numpy()
    for column, value in {"split": split, "repeat": repeat, "fold": fold}.items():
        if value is not None:
            chosen = chosen & (rows[column] == value).to_numpy()
    target = positions[chosen].to_numpy(np.int64)
    values = kind.values(predictions.logits[chosen])
    sums = np.zeros((len(row_ids), values.shape[1]))
    np.add.at(sums, target, values)
    counts = np.bincount(target, minlength=len(row_ids))
    if (counts == 0).any():
        missing = row_ids[int(np.argmin(counts))]
        raise DataError(
            f"predictions of {predictions.model}: {(counts == 0).sum()} {split} rows of task {predictions.task} have none, "
            f"first {missing!r}. Run dvc repro."
        )
    return sums / counts[:, None]
