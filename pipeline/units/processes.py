"""Which process somebody is, and what one that is gone has left in shared memory.

A number alone says nothing once its process has ended, as numbers are handed out again; after a power cut, and in every
container, they begin anew. So a process is known by its number, when it started, and since which start of the machine that
is counted. A kill of a whole group leaves nobody to remove its semaphores and shared arrays, which bear the number: so who
makes such notes before who it is, and the next one that starts removes those of noted processes that are gone. Without a
note, or where the number is of another boot or container, or is taken anew, nothing is touched.
"""

import atexit
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from pipeline.artifacts.files import write_atomically

PROC = Path("/proc")
NOTES = Path(".stitchfold/shared_memory")
SHARED = Path("/dev/shm")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, as no other one ever is: `started` counts from `boot`, in the system's own unit."""

    pid: int
    started: str
    boot: str

    def is_alive(self) -> bool:
        """Return whether the process is still there, seen from this container, and not merely unburied."""
        return identity(self.pid) == self

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process and its children have taken so far, 0 if it is gone."""
        seconds = 0.0
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    times = one.cpu_times()
                    seconds += times.user + times.system
        return seconds


def identity(pid: int | None = None) -> ProcessIdentity | None:
    """Return who has a number, by default this process; None if nobody has it, or who had it has ended.

    >>> identity() == identity(os.getpid()), identity(os.getpid()).is_alive()
    (True, True)
    """
    number = os.getpid() if pid is None else pid
    with suppress(psutil.Error, OSError, ValueError):
        process = psutil.Process(number)
        if process.status() != psutil.STATUS_ZOMBIE:
            return ProcessIdentity(number, _started(process), _boot())
    return None


def _started(process: psutil.Process) -> str:
    """Return when a process started, on Linux in ticks since the boot: the clock may be set meanwhile."""
    stat = PROC / str(process.pid) / "stat"
    return (
        stat.read_text(encoding="utf-8").rpartition(")")[2].split()[19] if PROC.is_dir() else str(process.create_time())
    )


@cache
def _boot() -> str:
    boot = PROC / "sys/kernel/random/boot_id"
    return boot.read_text(encoding="utf-8").strip() if boot.exists() else str(psutil.boot_time())


@cache
def note_shared_memory() -> None:
    """Note, once, that this process will use shared memory, after removing what noted ones that are gone have left."""
    if not SHARED.is_dir():
        return
    sweep()
    note = NOTES.absolute() / f"{os.getpid()}.json"
    write_atomically(note, (json.dumps(_noted(identity())) + "\n").encode())
    atexit.register(_forget, note, os.getpid())


def sweep() -> None:
    """Remove what processes that are gone have left in shared memory, and their notes."""
    for note in NOTES.glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # somebody else sweeps, or the note is damaged
            record, pid, here = json.loads(note.read_text(encoding="utf-8")), int(note.stem), _noted(identity())
            if record["boot"] == here["boot"] and record["namespace"] != here["namespace"]:
                continue  # a number of another container: it may be alive there
            now = identity(pid)
            if _noted(now) == record:
                continue
            if now is None and record["boot"] == here["boot"]:
                for path in (*SHARED.glob(f"sem.loky-{pid}-*"), *SHARED.glob(f"joblib_memmapping_folder_{pid}_*")):
                    if path.lstat().st_uid == os.getuid():
                        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            note.unlink(missing_ok=True)


def _noted(process: ProcessIdentity | None) -> dict[str, Any]:
    return {} if process is None else asdict(process) | {"namespace": os.readlink(PROC / "self/ns/pid")}


def _forget(note: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a forked child
        note.unlink(missing_ok=True)
