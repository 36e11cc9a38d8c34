"""One writer: a lock that the process holds that writes a unit, and the note of who that is.

By default flock, which the system releases when its holder dies. Where a filesystem has none (some network mounts),
`run.lock: o_excl` takes a file that only one process can create instead.
"""

import errno
import fcntl
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO

from filelock import SoftFileLock, Timeout

from pipeline.errors.exceptions import InterruptedRun, MachineError
from pipeline.units.processes import ProcessIdentity, identity
from pipeline.units.stop_signals import stop_requested

LOCK, SOFT_LOCK = "lock", "lock.o_excl"
POLL_SECONDS = 0.2
NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Writer:
    """Who writes a folder, for which stage's process, since what time of day; or who was killed while it did."""

    process: ProcessIdentity
    stage: ProcessIdentity
    since: str


@contextmanager
def one_writer(folder: Path, *, name: str, stage: ProcessIdentity | None = None, how: str = "flock") -> Iterator[None]:
    """Be the only writer of a folder while the block runs; a second one waits and says for whom.

    Args:
        folder: its `lock` names the `Writer` while somebody writes, and after the writer was killed.
        name: what is written, for messages.
        stage: the process for which this one works; by default itself.
        how: `flock`, or `o_excl` for filesystems without it.

    Raises:
        MachineError: if the filesystem cannot lock.
        InterruptedRun: if the process is asked to stop while it waits.
    """
    with (folder / LOCK).open("a+") as file:
        soft = SoftFileLock(folder / SOFT_LOCK)
        take = partial(_flock, file, folder) if how == "flock" else partial(try_soft_lock, soft)
        _wait(take, folder, name)
        try:
            file.truncate(0)
            if (process := identity()) is not None:
                file.write(json.dumps(asdict(Writer(process, stage or process, time.strftime("%H:%M:%S")))))
            file.flush()
            yield
        finally:
            file.truncate(0)
            soft.release()


def noted_writer(folder: Path) -> Writer | None:
    """Return who the note of a folder names: its writer, or one that was killed, maybe before the machine's last start."""
    try:
        note = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        process, stage = (ProcessIdentity(**note[role]) for role in ("process", "stage"))
        return Writer(process, stage, note["since"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _wait(take: Callable[[], bool], folder: Path, name: str) -> None:
    if take():
        return
    writer = noted_writer(folder)
    who = f"process {writer.process.pid} since {writer.since}" if writer else "another process"
    log.warning("%s: is being written by %s; waiting", name, who)
    while not take():
        if code := stop_requested():
            raise InterruptedRun(f"{name}: interrupted while waiting. Run dvc repro to continue.", code)
        time.sleep(POLL_SECONDS)


def try_flock(file: IO[str]) -> bool:
    """Return whether the lock of an open file could be taken: nobody else holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def try_soft_lock(lock: SoftFileLock) -> bool:
    """Return whether a lock that is a file could be taken."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _flock(file: IO[str], folder: Path) -> bool:
    try:
        return try_flock(file)
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise
        text = f"{folder}: must lie on a filesystem that can lock, got {error}. Set run.lock: o_excl."
        raise MachineError(text, code="E406") from error
