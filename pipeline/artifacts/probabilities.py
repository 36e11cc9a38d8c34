"""From stored logits to values such as probabilities, always joined by row id."""

import numpy as np

from pipeline.artifacts.predictions import Predictions
from pipeline.contracts import TaskKind
from pipeline.errors.exceptions import DataError

FLOOR = 1e-6  # a probability of exactly zero must not drown the other columns


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

    A row that stands several times (once per fold or repeat) gets the mean of its probabilities.

    Args:
        predictions: one model's predictions.
        split: oof, test or holdout.
        row_ids: the rows wanted, each once.
        kind: of the task: its link gives the values of logits.
        repeat: only this repeat; None takes all of them.
        fold: only this fold; None takes all of them.

    Raises:
        DataError: if a row has no prediction.
    """
    rows = predictions.rows
    chosen = (rows["split"] == split).to_numpy()
    if repeat is not None:
        chosen = chosen & (rows["repeat"] == repeat).to_numpy()
    if fold is not None:
        chosen = chosen & (rows["fold"] == fold).to_numpy()
    place = {row_id: position for position, row_id in enumerate(row_ids)}
    positions = rows.loc[chosen, "row_id"].map(place)
    wanted = positions.notna().to_numpy()
    target = positions[wanted].to_numpy(np.int64)
    values = kind.values(predictions.logits[chosen][wanted])
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
