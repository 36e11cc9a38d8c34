"""What a kill, a full disk or a worn one leaves behind, found and put right; nothing that is whole is computed again.

What is damaged is set aside or removed, so that the unit store, DVC's run-cache or, where all copies were one file, a
rerun of what was lost brings it back.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from dvc.repo import Repo

from pipeline.artifacts.folders import set_aside
from pipeline.artifacts.paths import OUT
from pipeline.checks import dvc_state
from pipeline.checks.dvc_state import Md5
from pipeline.checks.verify import (
    DOCTOR,
    Checked,
    check_artifacts,
    check_fold_models,
    check_objects,
    check_outs,
    check_unit,
)
from pipeline.number_formats import size_text
from pipeline.units.store import REMOVED, STORE, StoredUnit, disk_usage, if_free, stored_units

LEFTOVERS = (".result.*", ".*.tmp", f"{REMOVED}*", "checkpoints/.*.tmp", f"checkpoints/{REMOVED}*")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """Something wrong: where, what, what mends it, and how; `repair` says whether it could."""

    where: Path
    what: str
    remedy: str
    repair: Callable[[], bool]


def examine() -> Iterator[Finding]:
    """Yield everything that is wrong; what a living process is writing is left out."""
    repo = dvc_state.open_project()
    process = None if repo is None else dvc_state.busy(repo)
    if process is not None:
        log.warning("dvc is at work (process %s): dvc.lock, its cache and out/ are not looked at", process or "unknown")
    elif repo is not None:
        yield from _locks(repo)
        yield from _copies(repo)
        yield from _half_written()
    for folder in sorted(STORE.glob(f"{REMOVED}*")):
        yield _leftover(folder, folder)
    for unit in stored_units():
        if unit.state != "running":
            yield from _unit(unit)


def _locks(repo: Repo) -> Iterator[Finding]:
    """Yield what keeps DVC from starting."""
    problem, path = dvc_state.lock_file_problem(), dvc_state.LOCK_FILE
    if problem is not None:
        aside = next(place for n in count(1) if not (place := path.with_name(f"{path.name}.bad-{n}")).exists())
        remedy = f"move it to {aside}; then run dvc repro, nothing will be retrained"
        yield Finding(path, problem, remedy, partial(_rename, path, aside))
    path = dvc_state.rwlock_path(repo)
    problem = dvc_state.rwlock_problem(repo)
    if problem is not None:
        yield Finding(path, problem, "remove it; DVC makes it anew", partial(_remove, path))


def _copies(repo: Repo) -> Iterator[Finding]:
    """Yield damaged objects of DVC's cache, and damaged files in `out/`, which often are the same files."""
    md5 = Md5()
    for checked in check_objects(repo, md5):
        if checked.problem:
            remedy = "remove it; dvc repro makes it again from the unit store"
            yield Finding(checked.path, _what(checked), remedy, partial(_remove, checked.path))
    outs = () if dvc_state.lock_file_problem() else check_outs(repo, md5)
    found: set[Path] = set()
    for checked in (*check_fold_models(), *check_artifacts(), *outs):
        if (
            checked.problem
            and checked.problem.endswith(DOCTOR)
            and found.isdisjoint((checked.path, checked.path.parent))
        ):
            found.add(checked.path)
            remedy = "remove it; dvc repro brings it back from DVC's cache or the unit store"
            sidecar = checked.path.with_name(f"{checked.path.name}.sha256")
            yield Finding(checked.path, _what(checked), remedy, partial(_remove, checked.path, sidecar))


def _half_written() -> Iterator[Finding]:
    """Yield what killed processes left of the files that they were writing in `out/`."""
    for path in sorted(OUT.rglob(".*.tmp")):
        yield Finding(path, "was left by a process that is gone", "remove it", partial(_remove, path))


def _what(checked: Checked) -> str:
    return str(checked.problem).removesuffix(f". {DOCTOR}")


def _unit(unit: StoredUnit) -> Iterator[Finding]:
    """Yield what is wrong in the folder of a unit."""
    for pattern in LEFTOVERS:
        for path in sorted(unit.folder.glob(pattern)):
            yield _leftover(path, unit.folder)
    for checked in check_unit(unit):
        if checked.problem:
            kind = "only this is computed again" if checked.path.name == "result" else "an older checkpoint is taken"
            repair = partial(_if_free, unit.folder, partial(_set_aside, checked.path))
            yield Finding(checked.path, _what(checked), f"set it aside; {kind}", repair)


def _leftover(path: Path, owner: Path) -> Finding:
    size = size_text(disk_usage([path])[0])
    return Finding(
        path,
        f"was left by a process that is gone ({size})",
        "remove it",
        partial(_if_free, owner, partial(_remove, path)),
    )


def _if_free(folder: Path, repair: Callable[[], bool]) -> bool:
    """Repair something in a unit's folder unless a process has taken it up in the meantime."""
    with if_free(folder) as free:
        return free and repair()


def _set_aside(folder: Path) -> bool:
    set_aside(folder)
    return True


def _rename(path: Path, other: Path) -> bool:
    path.rename(other)
    return True


def _remove(*paths: Path) -> bool:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return True
