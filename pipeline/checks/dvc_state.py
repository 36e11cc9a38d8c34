"""What DVC keeps of this project, looked at without trust: dvc.lock, its own locks, its cache, and what the outs must be.

DVC takes a cached object, and a file whose size and time have not changed, for what they were; here both are read again.
"""

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from dvc.exceptions import DvcException
from dvc.lock import LockError, make_lock
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK, SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.scm import NoSCM
from dvc.utils import strictyaml
from voluptuous import Invalid

from pipeline.checks.torn_files import LOCK_FILE
from pipeline.errors.exceptions import MachineError
from pipeline.units.locks import try_flock

CLOCK_SECONDS = 2.0  # by which times of processes and of files may differ
OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")


def open_project() -> Repo | None:
    """Return the DVC project of this folder, None where there is none.

    Raises:
        MachineError: if DVC cannot open it.
    """
    try:
        return Repo(".") if Path(".dvc").is_dir() else None
    except (sqlite3.Error, DvcException) as error:
        remedy = "Run stitchfold doctor --fix" if isinstance(error, sqlite3.Error) else "Mend what it names"
        text = f".dvc: must be a project that DVC can open, got: {error}. {remedy}, then dvc repro."
        raise MachineError(text, code="E402") from error


def damaged_databases() -> Iterator[tuple[Path, str]]:
    """Yield the folder of each database in which DVC remembers files' digests and that it cannot read, and why."""
    if not Path(".dvc").is_dir():
        return
    repo = Repo.__new__(Repo)
    with suppress(sqlite3.Error, DvcException):  # it knows the folder also where what lies in it keeps it from opening
        Repo.__init__(repo, ".")
    for path in sorted(Path(repo.site_cache_dir).rglob("*.db")) if "root_dir" in vars(repo) else ():
        try:
            with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
                [[said]] = database.execute("PRAGMA quick_check(1)").fetchall()
        except sqlite3.DatabaseError as error:
            said = str(error)
        if said != "ok" and "locked" not in said:
            yield path.parent, f"{path.name}: {said}"


def left_git_lock(repo: Repo) -> Path | None:
    """Return git's `index.lock` if whoever made it is gone: no git works here, and no process has it open."""
    if isinstance(repo.scm, NoSCM):
        return None
    lock = Path(f"{repo.scm.dulwich.repo.index_path()}.lock")
    return lock if lock.exists() and not any(_holds(process, lock) for process in psutil.process_iter()) else None


def _holds(process: psutil.Process, lock: Path) -> bool:
    """Return whether a process has a file open, or is a git below this folder, which may have closed it meanwhile."""
    with suppress(psutil.Error, OSError):
        if process.name() == "git" and Path(process.cwd()).is_relative_to(Path.cwd()):
            return True
        return any(Path(file.path).name == lock.name and lock.samefile(file.path) for file in process.open_files())
    return False


def lock_file_problem() -> str | None:
    """Return why DVC cannot read dvc.lock; None if it can, or there is none."""
    try:
        content = LOCK_FILE.read_bytes()
        strictyaml.load(str(LOCK_FILE), COMPILED_LOCKFILE_SCHEMA)
    except FileNotFoundError:
        return None
    except (DvcException, UnicodeDecodeError):
        merging = ", with the marks of a merge" if b"<<<<<<<" in content and b">>>>>>>" in content else ""
        return f"is not readable ({len(content)} bytes{merging})"
    return None


def busy(repo: Repo) -> int | None:
    """Return the process of a DVC that is at work here, 0 if it cannot be told which."""
    with suppress(FileNotFoundError), (Path(repo.tmp_dir) / "lock").open("r+") as file:
        if not try_flock(file):
            return 0
    try:
        return next((pid for pid in _holders(repo) if _may_have_written(pid, rwlock_path(repo))), None)
    except LockError:
        return 0
    except ValueError:
        return None


def rwlock_problem(repo: Repo) -> str | None:
    """Return what is wrong with the file in which DVC notes who reads and writes what."""
    try:
        dead = sorted(set(_holders(repo)))
    except ValueError as error:
        return f"is not readable ({error}), so every dvc repro fails"
    return f"names processes that are gone: {', '.join(map(str, dead))}" if dead else None


def rwlock_path(repo: Repo) -> Path:
    """Return where DVC notes who reads and writes what."""
    return Path(os.path.relpath(repo.tmp_dir)) / RWLOCK_FILE


def cache_folder(repo: Repo) -> Path:
    """Return where DVC keeps its objects."""
    return Path(os.path.relpath(repo.cache.local.path))


def cached_objects(repo: Repo) -> Iterator[tuple[Path, str]]:
    """Yield each object of the cache with the md5 that its content must have."""
    for path in sorted(cache_folder(repo).glob("[0-9a-f][0-9a-f]/*")):
        name = path.parent.name + path.name
        if OBJECT.fullmatch(name):
            yield path, name.removesuffix(".dir")


def locked_files(repo: Repo) -> Iterator[tuple[Path, str | None]]:
    """Yield each file of the outs with the md5 that dvc.lock gives it.

    None stands for a file of which dvc.lock knows nothing, and for a folder whose list of files the cache has lost.
    """
    for out in repo.index.outs:
        path = Path(os.path.relpath(out.fs_path))
        if not out.hash_info:
            continue
        tree: Any = out.get_obj() if out.hash_info.isdir else None
        if tree is None:
            yield path, None if out.hash_info.isdir else out.hash_info.value
            continue
        if any(leaves(key) for key, _, _ in tree):
            yield path, None
            continue
        listed = {path.joinpath(*key): info.value for key, _, info in tree}
        yield from listed.items()
        others = sorted(file for file in path.rglob("*") if file.is_file() and file not in listed)
        yield from ((file, None) for file in others if not repo.dvcignore.is_ignored_file(str(file)))


def leaves(key: tuple[str, ...]) -> bool:
    """Return whether a name in a folder's list leads out of the folder: DVC writes none such.

    >>> leaves(("models", "x")), leaves(("..", "x")), leaves(("", "etc", "x"))
    (False, True, True)
    """
    return any(part in ("", ".", "..") for part in key)


def list_leaves(path: Path) -> bool:
    """Return whether an object that lists the files of a folder names one outside of it."""
    try:
        return any(leaves(tuple(entry["relpath"].split("/"))) for entry in json.loads(path.read_bytes()))
    except (ValueError, TypeError, KeyError, AttributeError):
        return True


def stale_stages(repo: Repo) -> dict[str, str]:
    """Return the stages that `dvc repro` would run, because of another input or command, and why."""
    stale = {}
    for stage, changes in repo.status().items():
        inputs: dict[str, Any] = {}
        for change in changes:
            inputs |= change.get("changed deps", {}) if isinstance(change, dict) else {}
        texts = [f"{name} {how if isinstance(how, str) else ', '.join(how)}" for name, how in inputs.items()]
        texts += [change for change in changes if change == "changed command"]
        if texts:
            stale[stage] = "; ".join(texts)
    return stale


def _may_have_written(pid: int, note: Path) -> bool:
    """Return whether a process lives that is older than a note, and so can be the one named in it."""
    try:
        return psutil.Process(pid).create_time() <= note.stat().st_mtime + CLOCK_SECONDS
    except (psutil.Error, OSError):
        return False


class Md5:
    """Reads files' md5; what is linked under several names is read once."""

    def __init__(self) -> None:
        self._digests: dict[tuple[int, int], str] = {}

    def __call__(self, path: Path) -> str:
        """Return the md5 of a file as 32 hex digits."""
        status = path.stat()
        inode = (status.st_dev, status.st_ino)
        if inode not in self._digests:
            with path.open("rb") as file:
                self._digests[inode] = hashlib.file_digest(file, "md5").hexdigest()
        return self._digests[inode]


def _holders(repo: Repo) -> Iterator[int]:
    """Yield the processes that DVC's notes name.

    Raises:
        ValueError: if they are not readable.
        LockError: if somebody is writing them.
    """
    path = rwlock_path(repo)
    with make_lock(str(path.with_name(RWLOCK_LOCK)), tmp_dir=repo.tmp_dir):
        try:
            notes = SCHEMA(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return
        except Invalid as error:
            raise ValueError(str(error)) from error
    for process in (*notes["write"].values(), *chain.from_iterable(notes["read"].values())):
        yield process["pid"]
