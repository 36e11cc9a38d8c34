"""Files that are whole or absent, each with its sha256 beside it: bytes, JSON and parquet."""

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors.exceptions import MachineError, disk_error
from pipeline.errors.failpoints import failpoint

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
