"""Folders that are whole or absent: filled under a temporary name, a manifest of sha256 last, then renamed."""

import json
import logging
import os
import shutil
import time
from pathlib import Path

from pipeline.artifacts.files import sha256_of, sync_folder, write_atomically
from pipeline.errors.exceptions import MachineError, disk_error
from pipeline.errors.failpoints import failpoint

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"


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
        digests = {str(path.relative_to(temporary)): sha256_of(path) for path in files}
        write_atomically(temporary / MANIFEST, (json.dumps(digests, indent=1) + "\n").encode())
        failpoint("publish")
        temporary.rename(final)
        failpoint("published")
        sync_folder(final.parent)
    except (OSError, MachineError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise error if isinstance(error, MachineError) else disk_error(final, error) from error


def is_whole(folder: Path) -> bool:
    """Return whether a folder's manifest exists and every file has the digest it names."""
    try:
        digests = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(sha256_of(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def set_aside(folder: Path) -> None:
    """Rename a damaged folder so that nothing reads it again."""
    aside = folder.with_name(f"{folder.name}.corrupt-{time.time_ns()}")
    folder.rename(aside)
    log.warning("%s: does not match its manifest; set aside as %s", folder, aside.name)
