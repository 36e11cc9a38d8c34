"""What a kill, a full disk or a worn one leaves behind, found and put right; nothing that is whole is computed again.

What is damaged is set aside or removed, so that the unit store, DVC's run-cache or, where all copies were one file, a
rerun of what was lost brings it back.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from itertools import count
from pathlib import Path

from dvc.repo import Repo

from pipeline.artifacts.files import set_aside
from pipeline.artifacts.paths import OUT
from pipeline.checks import dvc_state
from pipeline.checks.containment import PLACES, is_inside, link_before, remove
from pipeline.checks.dvc_state import Md5
from pipeline.checks.verify import Remedy, check_artifacts, check_fold_models, check_objects, check_outs, check_unit
from pipeline.number_formats import size_text
from pipeline.units.store import REMOVED, STORE, StoredUnit, disk_usage, if_free, stored_units

LEFTOVERS = (".result.*", ".*.tmp", f"{REMOVED}*", "checkpoints/.*.tmp", f"checkpoints/{REMOVED}*")
LEFT = "was left by a process that is gone"
log = logging.getLogger(__name__)


class Action(Enum):
    """What is done with what is wrong, in the words of a remedy."""

    REMOVE = "remove it"
    REMOVE_LINK = "remove the link alone"
    LEAVE = "look at it, and remove it by hand"
    SET_ASIDE = "set it aside"
    MOVE = "move it"


@dataclass(frozen=True)
class Finding:
    """Something wrong: where, what, what mends it and what comes of that.

    `unit` is the unit's folder that it lies in, which nobody may be writing; `target` is where it is moved to; `places` are
    those outside which nothing is touched.
    """

    path: Path
    problem: str
    action: Action
    outlook: str = ""
    unit: Path | None = None
    target: Path | None = None
    places: tuple[Path, ...] = PLACES

    @property
    def remedy(self) -> str:
        """What to do, for people."""
        return f"{self.action.value}{f' to {self.target}' if self.target else ''}{self.outlook}"

    def repair(self) -> bool:
        """Put it right, unless it lies elsewhere or a process has taken up its unit in the meantime; return if it was."""
        if not is_inside(self.path, self.places):
            return False
        with if_free(self.unit) if self.unit else nullcontext(True) as free:
            if free and self.action is Action.SET_ASIDE:
                set_aside(self.path)
            elif free and self.target is not None:
                self.path.rename(self.target)
            elif free:
                for path in (self.path, self.path.with_name(f"{self.path.name}.sha256")):
                    remove(path)
        return free


def examine() -> Iterator[Finding]:
    """Yield everything that is wrong; what a living process is writing is left out.

    Of what is damaged behind a link only the link is to be removed.
    """
    links: set[Path] = set()
    for finding in _examine():
        link = link_before(finding.path)
        if is_inside(finding.path, finding.places):
            yield finding
        elif link is None or ".." in finding.path.parts:
            problem = f"{finding.problem}, and lies outside the project: nothing is touched there"
            yield replace(finding, problem=problem, action=Action.LEAVE, outlook="", target=None)
        elif link not in links:
            links.add(link)
            yield Finding(
                link, f"is a link to what {finding.problem}", Action.REMOVE_LINK, finding.outlook, unit=finding.unit
            )


def _examine() -> Iterator[Finding]:
    databases = list(_databases())
    yield from databases
    left = [finding.path for finding in databases if finding.path.exists()]
    if left:
        log.warning("%s: is damaged, so dvc.lock, DVC's cache and out/ are not looked at", left[0])
    repo = None if left else dvc_state.open_project()
    process = None if repo is None else dvc_state.busy(repo)
    if process is not None:
        log.warning("dvc is at work (process %s): dvc.lock, its cache and out/ are not looked at", process or "unknown")
    elif repo is not None:
        yield from _locks(repo)
        yield from _copies(repo)
        yield from (Finding(path, LEFT, Action.REMOVE) for path in sorted(OUT.rglob(".*.tmp")))
    for folder in sorted(STORE.glob(f"{REMOVED}*")):
        yield _leftover(folder, folder)
    for unit in stored_units():
        if unit.state != "running":
            yield from _unit(unit)


def _databases() -> Iterator[Finding]:
    """Yield the databases without which DVC does not even start."""
    outlook = "; DVC makes it anew and reads every file once more"
    for path, why in dvc_state.damaged_databases():
        yield Finding(path, f"DVC's database of digests is damaged ({why})", Action.REMOVE, outlook)


def _locks(repo: Repo) -> Iterator[Finding]:
    """Yield what keeps DVC from starting."""
    path = dvc_state.LOCK_FILE
    if problem := dvc_state.lock_file_problem():
        names = (path.with_name(f"{path.name}.bad-{number}") for number in count(1))
        target = next(name for name in names if not name.exists())
        yield Finding(path, problem, Action.MOVE, "; then run dvc repro, nothing will be retrained", target=target)
    if problem := dvc_state.rwlock_problem(repo):
        yield Finding(dvc_state.rwlock_path(repo), problem, Action.REMOVE, "; DVC makes it anew")
    if (lock := dvc_state.left_git_lock(repo)) is not None:
        problem = "was left by a git or dvc that is gone, and no git add, so no dvc repro, goes on"
        yield Finding(Path(os.path.relpath(lock)), problem, Action.REMOVE)


def _copies(repo: Repo) -> Iterator[Finding]:
    """Yield damaged objects of DVC's cache, and damaged files in `out/`, which often are the same files."""
    md5 = Md5()
    outlook = "; dvc repro makes it again from the unit store"
    for checked in check_objects(repo, md5):
        if checked.problem:
            places = (dvc_state.cache_folder(repo),)
            yield Finding(checked.path, checked.problem, Action.REMOVE, outlook, places=places)
    outlook = "; dvc repro brings it back from DVC's cache or the unit store"
    outs = () if dvc_state.lock_file_problem() else check_outs(repo, md5)
    damaged: set[Path] = set()
    for checked in (*check_fold_models(), *check_artifacts(), *outs):
        is_new = damaged.isdisjoint((checked.path, checked.path.parent))
        if checked.problem and checked.remedy is Remedy.DOCTOR and is_new:
            damaged.add(checked.path)
            yield Finding(checked.path, checked.problem, Action.REMOVE, outlook)


def _unit(unit: StoredUnit) -> Iterator[Finding]:
    """Yield what is wrong in the folder of a unit."""
    left = [path for pattern in LEFTOVERS for path in sorted(unit.folder.glob(pattern))]
    for path in filter(is_inside, left):  # behind a link it harms nobody
        yield _leftover(path, unit.folder)
    for checked in check_unit(unit):
        if checked.problem:
            is_result = checked.path == unit.result
            outlook = "; only this is computed again" if is_result else "; an older checkpoint is taken"
            yield Finding(checked.path, checked.problem, Action.SET_ASIDE, outlook, unit=unit.folder)


def _leftover(path: Path, unit: Path) -> Finding:
    return Finding(path, f"{LEFT} ({size_text(disk_usage([path])[0])})", Action.REMOVE, unit=unit)
