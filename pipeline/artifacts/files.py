"""Files and folders that are whole or absent: a file has its sha256 beside it, a folder its manifest of them inside."""

import hashlib
import json
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors.exceptions import MachineError, disk_error
from pipeline.errors.failpoints import failpoint

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
SHA256 = re.compile(r"[0-9a-f]{64}")
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
    """Write an artifact that is JSON, with its digest beside it."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return a value as the JSON of an artifact: with sorted keys; numbers that are not finite become null."""
    text = json.dumps(_finite(value), ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    return (text + "\n").encode("utf-8", "surrogatepass")


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


def publish_folder(temporary: Path, final: Path) -> None:
    """Give a filled folder its name, with a manifest of its files' digests inside.

    Raises:
        MachineError: if the disk is full or not writable; the temporary folder is removed.
    """
    try:
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        for path in files:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        write_manifest(temporary, files)
        failpoint("publish")
        temporary.rename(final)
        failpoint("published")
        sync_folder(final.parent)
    except (OSError, MachineError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise error if isinstance(error, MachineError) else disk_error(final, error) from error


def write_manifest(folder: Path, files: Iterable[Path]) -> None:
    """Write the digests of a folder's files into it: see `read_manifest`."""
    digests = {str(path.relative_to(folder)): sha256_of(path) for path in files}
    write_atomically(folder / MANIFEST, (json.dumps(digests, indent=1) + "\n").encode())


def read_manifest(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of a folder, by its path in it, as `publish_folder` wrote them.

    Raises:
        OSError: if there is no manifest.
        ValueError: if it names no file, one outside of the folder, or something that is no sha256.
    """
    digests = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(digests, dict) or not digests:
        raise ValueError(f"{folder / MANIFEST}: must name the folder's files, got {str(digests)[:60]}")
    for name, digest in digests.items():
        if not is_inner(name) or not (isinstance(digest, str) and SHA256.fullmatch(digest)):
            raise ValueError(f"{folder / MANIFEST}: must give files within the folder their sha256, got {name!r}")
    return digests


def is_inner(name: str) -> bool:
    """Return whether a relative path leads nowhere but further down, as it is written.

    >>> [is_inner(name) for name in ("models/x", "../x", "/etc/x", "a//x", "")]
    [True, False, False, False, False]
    """
    return all(part not in ("", ".", "..") for part in name.split("/")) and "\0" not in name


def is_whole(folder: Path) -> bool:
    """Return whether a folder's manifest is one and every file has the digest it names."""
    try:
        return all(sha256_of(folder / name) == digest for name, digest in read_manifest(folder).items())
    except (OSError, ValueError, RecursionError):
        return False


def set_aside(folder: Path) -> None:
    """Rename a damaged folder so that nothing reads it again."""
    aside = folder.with_name(f"{folder.name}.corrupt-{time.time_ns()}")
    folder.rename(aside)
    log.warning("%s: does not match its manifest; set aside as %s", folder, aside.name)
