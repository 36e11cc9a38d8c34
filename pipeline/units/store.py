"""The unit store as it lies on disk: which units there are, in what state, and what they take."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from filelock import SoftFileLock

from pipeline.units import notes
from pipeline.units.locks import LOCK, NO_FLOCK, SOFT_LOCK, try_flock, try_soft_lock
from pipeline.units.notes import FAILURE, Failure, Progress, UnitNote

STORE = Path(".stitchfold/units")
REMOVED = ".removed-"
ASIDE = ".corrupt-"
State = Literal["finished", "running", "failed", "interrupted", "begun"]


@dataclass(frozen=True)
class StoredUnit:
    """One folder of the store; what a run left half-written in it is taken for absent."""

    folder: Path
    state: State

    @property
    def key(self) -> str:
        """The digest under which the unit is found."""
        return self.folder.name

    @property
    def result(self) -> Path:
        """The folder of the result: whole, or absent."""
        return self.folder / "result"

    @property
    def name(self) -> str:
        """The name for people, or the key where none is known."""
        return self.about["name"]

    @cached_property
    def about(self) -> UnitNote:
        """What the unit was made from."""
        return notes.read_unit_note(self.folder)

    @cached_property
    def progress(self) -> Progress:
        """What the unit noted last while it ran."""
        return notes.read_progress(self.folder)

    @cached_property
    def failure(self) -> Failure:
        """The error on which it was given up."""
        return notes.read_failure(self.folder)

    @property
    def step(self) -> int | None:
        """The step of the newest checkpoint."""
        return max((int(path.name.removeprefix("step-")) for path in checkpoints(self.folder)), default=None)

    @property
    def seconds_left(self) -> float | None:
        """The time to the last step at the pace of the present run; None while it is not known."""
        progress = self.progress
        if self.state != "running" or not progress.get("seconds_per_step"):
            return None
        return (progress["n_steps"] - progress["step"]) * progress["seconds_per_step"]


def stored_units(store: Path = STORE) -> list[StoredUnit]:
    """Return all units by name; folders on their way out are none."""
    folders = [path for path in store.glob("*") if path.is_dir() and not path.name.startswith(".")]
    return sorted((StoredUnit(path, _state(path)) for path in folders), key=lambda unit: (unit.name, unit.key))


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a unit's folder, oldest first, without those set aside."""
    return sorted(path for path in (folder / "checkpoints").glob("step-*") if ASIDE not in path.name)


def set_aside_folders(folder: Path) -> list[Path]:
    """Return the damaged folders of a unit that were set aside."""
    return sorted([*folder.glob(f"*{ASIDE}*"), *(folder / "checkpoints").glob(f"*{ASIDE}*")])


@contextmanager
def if_free(folder: Path) -> Iterator[bool]:
    """Hold a unit's lock while the block runs if nobody else does; give whether it is ours."""
    with ExitStack() as stack:
        yield _take(folder, stack)


def disk_usage(paths: Iterable[Path]) -> tuple[int, int]:
    """Return the bytes of files and folders, and those that removing them frees: not what is hard-linked elsewhere."""
    inodes: dict[tuple[int, int], tuple[os.stat_result, int]] = {}
    for file in (file for path in paths for file in _files(path)):
        with suppress(FileNotFoundError):  # somebody is at work
            status = file.lstat()
            inode = (status.st_dev, status.st_ino)
            inodes[inode] = (status, inodes.get(inode, (status, 0))[1] + 1)
    total = sum(status.st_size for status, _ in inodes.values())
    return total, sum(status.st_size for status, n_links in inodes.values() if n_links >= status.st_nlink)


def _state(folder: Path) -> State:
    with if_free(folder) as free:
        if not free:
            return "running"
    if (folder / "result").exists():
        return "finished"
    if (folder / FAILURE).exists():
        return "failed"
    return "interrupted" if checkpoints(folder) else "begun"


def _take(folder: Path, stack: ExitStack) -> bool:
    """Take the locks that a writer of the folder may have left, of either kind; a folder without any is free."""
    if (folder / LOCK).exists():
        try:
            if not try_flock(stack.enter_context((folder / LOCK).open("r+"))):
                return False
        except OSError as error:
            if error.errno not in (*NO_FLOCK, errno.EACCES):
                raise
    soft = SoftFileLock(folder / SOFT_LOCK)
    if Path(soft.lock_file).exists():
        stack.callback(soft.release)
        return try_soft_lock(soft)
    return True


def _files(path: Path) -> Iterator[Path]:
    walk = ((folder, name) for folder, _, names in os.walk(path) for name in names)  # nothing where it is a file
    yield from [path] if path.is_file() else (Path(folder) / name for folder, name in walk)
