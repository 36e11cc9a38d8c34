"""Every artifact under `out/`: its name, its form, how it is written and how it is checked when read.

Each file is written atomically and leaves `<name>.sha256` beside it (the form of `sha256sum`); a reader that meets
another digest refuses and says how to make the file again. Tables are parquet, small things JSON, nothing is pickled.
"""

import hashlib
import io
import json
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.exceptions import DataError, MachineError, disk_error
from pipeline.failpoints import failpoint
from pipeline.paths import FOLDS, OUT, TABLE

# By default arrow keeps what it freed: 100 MB after it read and compared 100,000 texts.
with suppress(NotImplementedError):  # where its wheels come without jemalloc
    pa.jemalloc_set_decay_ms(0)
    pa.set_memory_pool(pa.jemalloc_memory_pool())
HOLDOUT_FOLD = -1
TRAIN_FOLD = -2
LOGIT = "logit:"
GROUP_ROWS = 1 << 14
# Running the stage again is not enough: DVC may bring back its own copy, damaged too and trusted unread.
MEND = "Run stitchfold doctor --fix, then dvc repro."

TABLE_COLUMNS = ["row_id", "task", "split", "text", "text_pair", "label", "group"]
FOLDS_COLUMNS = ["row_id", "task", "repeat", "fold", "cluster"]
PREDICTION_COLUMNS = ["row_id", "task", "split", "repeat", "fold"]


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


@dataclass(frozen=True)
class Predictions:
    """One model's predictions for one task: the contract between base models and the ensemble.

    `rows` has `row_id, task, split (oof|test|holdout), repeat, fold`; `logits` is float32 of shape (rows, labels), in the
    order of `labels`, and softmax over a row gives probabilities (a model of probabilities stores their logarithms). Each
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


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that its name either has the whole content or what it had before.

    Raises:
        MachineError: if the disk is full or the folder is not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            failpoint("write")
            file.write(content)
            file.flush()
            failpoint("written")
            os.fsync(file.fileno())
        failpoint("synced")
        temporary.rename(path)
        failpoint("renamed")
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(path, error, n_bytes=len(content)) from error


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, then its digest beside it."""
    write_atomically(path, content)
    failpoint("undigested")
    write_digest(path, hashlib.sha256(content).hexdigest())


def write_digest(path: Path, digest: str) -> None:
    """Write `<name>.sha256` beside a file, in the form that `sha256sum --check` reads."""
    write_atomically(path.with_name(path.name + ".sha256"), f"{digest}  {path.name}\n".encode())


def verify(path: Path) -> str:
    """Return a file's digest after comparing it with the one written beside it.

    Raises:
        MachineError: if the file or its digest is missing, or they disagree; the message says how to make it again.
    """
    try:
        expected = path.with_name(path.name + ".sha256").read_text(encoding="utf-8").split()[0]
        digest = sha256_of(path)
    except (FileNotFoundError, IndexError) as error:
        raise MachineError(f"{path}: the file or its .sha256 is missing or empty. {MEND}", code="E402") from error
    if digest != expected:
        raise MachineError(
            f"{path}: must have sha256 {expected[:12]}…, got {digest[:12]}… (damaged, or edited by hand). {MEND}",
            code="E402",
        )
    return digest


def _stage_of(path: Path) -> str:
    parts = path.parts[path.parts.index(OUT.name) + 1 :] if OUT.name in path.parts else path.parts
    return (
        f"{parts[0]}@{parts[1]}"
        if parts[0] == "finetune"
        else parts[0].removesuffix(".json").replace("metrics", "stack")
    )


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys; numbers that are not finite become null."""
    text = json.dumps(_finite(value), ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8", "surrogatepass"))


def read_json(path: Path) -> Any:
    """Read a JSON artifact after checking its digest."""
    verify(path)
    return json.loads(path.read_text(encoding="utf-8"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        return _finite(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_table(table: Table, path: Path = TABLE) -> None:
    """Write the table with its labels in the file's metadata."""
    write_frame(path, table.rows[TABLE_COLUMNS], {"labels": table.labels})


def read_table(path: Path = TABLE) -> Table:
    """Read the table."""
    rows, metadata, _ = read_frame(path)
    return Table(rows, metadata["labels"])


def write_folds(rows: pd.DataFrame, path: Path = FOLDS) -> None:
    """Write the fold manifest."""
    write_frame(path, rows[FOLDS_COLUMNS], {})


def read_folds(path: Path = FOLDS) -> Folds:
    """Read the fold manifest with its digest."""
    rows, _, digest = read_frame(path)
    return Folds(rows, digest)


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write predictions in the common contract.

    Raises:
        DataError: if a value is not finite, or a training row does not stand exactly once per repeat.
    """
    check_predictions(predictions)
    rows = predictions.rows[PREDICTION_COLUMNS].reset_index(drop=True)
    logits = pd.DataFrame(
        predictions.logits.astype(np.float32), columns=[LOGIT + label for label in predictions.labels]
    )
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
            f"Make it again: dvc repro {_stage_of(path)}"
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
    once = ["row_id", "repeat"]
    for rows, keys in (
        (predictions.rows[is_oof], once),
        (predictions.rows[~is_oof], [*once, "split", "fold"]),
    ):
        twice = rows.duplicated(keys)
        if twice.any():
            row = rows.loc[twice, "row_id"].iloc[0]
            raise DataError(
                f"predictions of {predictions.model}: each row must stand once per {keys[1:]}, got {row!r} twice. "
                "Make them again with each row once."
            )


def write_frame(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> None:
    """Write a frame as parquet, with JSON in the file's metadata."""
    write_frames(path, [frame], pa.Schema.from_pandas(frame, preserve_index=False), metadata)


def write_frames(path: Path, frames: Iterable[pd.DataFrame], schema: pa.Schema, metadata: dict[str, Any]) -> None:
    """Write frames, one after another, as one parquet file, with JSON in the file's metadata.

    How the rows came in frames changes no byte.
    """
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    schema = schema.with_metadata({**(schema.metadata or {}), b"stitchfold": text.encode()})
    buffer = io.BytesIO()
    waiting = schema.empty_table()
    with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
        for frame in frames:
            waiting = pa.concat_tables([waiting, pa.Table.from_pandas(frame, schema, preserve_index=False)])
            while len(waiting) > GROUP_ROWS:
                writer.write_table(waiting.slice(0, GROUP_ROWS).combine_chunks())
                waiting = waiting.slice(GROUP_ROWS)
        writer.write_table(waiting.combine_chunks())
    write_bytes(path, buffer.getvalue())


def read_frame(path: Path) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """Return a frame, its metadata and the file's digest, after checking the digest."""
    digest = verify(path)
    table = pq.read_table(path)
    metadata = json.loads((table.schema.metadata or {}).get(b"stitchfold", b"{}"))
    return table.to_pandas(), metadata, digest
