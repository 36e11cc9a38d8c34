"""Files that are whole or absent, each with its sha256 beside it: bytes, JSON and parquet."""

import hashlib
import io
import json
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors.exceptions import MachineError, disk_error
from pipeline.errors.failpoints import failpoint

# By default arrow keeps what it freed: 100 MB after it read and compared 100,000 texts.
with suppress(NotImplementedError):  # where its wheels come without jemalloc
    pa.jemalloc_set_decay_ms(0)
    pa.set_memory_pool(pa.jemalloc_memory_pool())


GROUP_ROWS = 1 << 14
# Running the stage again is not enough: DVC may bring back its own copy, damaged too and trusted unread.
MEND = "Run stitchfold doctor --fix, then dvc repro."


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
