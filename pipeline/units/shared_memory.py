"""What a run keeps in /dev/shm, removed after a kill of its whole group, which leaves nobody to do so.

A process notes who it is before it makes semaphores or shared arrays, which bear its number; the next one that starts
removes those of noted processes that are gone. Without a note, or on another boot or in another container, where numbers
mean other processes, nothing is touched.
"""

import atexit
import json
import os
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from pipeline.artifacts.files import write_atomically

NOTES = Path(".stitchfold/shared_memory")
SHARED = Path("/dev/shm")
BOOT, NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


@cache
def note_shared_memory() -> None:
    """Note, once, that this process will use shared memory, after removing what noted ones that are gone have left."""
    if not SHARED.is_dir():
        return
    sweep()
    note = NOTES.absolute() / f"{os.getpid()}.json"
    write_atomically(note, (json.dumps(_whoami(os.getpid())) + "\n").encode())
    atexit.register(_forget, note, os.getpid())


def sweep() -> None:
    """Remove what processes that are gone have left in shared memory, and their notes."""
    for note in NOTES.glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # somebody else sweeps, or the note is damaged
            record, pid = json.loads(note.read_text(encoding="utf-8")), int(note.stem)
            here = _whoami(os.getpid())
            if record["boot"] == here["boot"] and record["namespace"] != here["namespace"]:
                continue  # a number of another container: it may be alive there
            if record["boot"] == here["boot"]:
                if _whoami(pid) == record:
                    continue
                for path in (*SHARED.glob(f"sem.loky-{pid}-*"), *SHARED.glob(f"joblib_memmapping_folder_{pid}_*")):
                    _remove(path, since=record["started"])
            note.unlink(missing_ok=True)


def _remove(path: Path, *, since: float) -> None:
    """Remove what is ours and was made after the noted process began."""
    status = path.lstat()
    if status.st_uid == os.getuid() and status.st_mtime >= since - 1:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _whoami(pid: int) -> dict[str, Any]:
    """Return what tells a process from any other that ever had its number; it has not started where there is none."""
    with suppress(psutil.Error):
        started = psutil.Process(pid).create_time()
        return {
            "boot": BOOT.read_text(encoding="ascii").strip(),
            "namespace": os.readlink(NAMESPACE),
            "started": started,
        }
    return {}


def _forget(note: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a forked child
        note.unlink(missing_ok=True)
