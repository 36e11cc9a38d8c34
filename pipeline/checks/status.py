"""How far the work is: per stage the units done, running, interrupted and failed, the time left and the disk they take."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pipeline.checks.needs import part_of, read_files
from pipeline.checks.torn_files import torn_lines
from pipeline.number_formats import duration, size_text
from pipeline.units.stage import PARAMS, Request, Stage, read_requests
from pipeline.units.store import StoredUnit, disk_usage, stored_units

PASSING = {"stitch-states"}  # they live only while their heads are trained


@dataclass(frozen=True)
class StageStatus:
    """The units that a stage asked for under today's params.yaml; those of no state have not begun."""

    stage: str
    n_units: int
    finished: int
    running: int
    interrupted: int
    failed: int
    seconds_left: float | None
    n_bytes: int


@dataclass(frozen=True)
class UnitStatus:
    """A unit that is not finished."""

    name: str
    state: str
    step: int | None
    n_steps: int | None
    seconds_left: float | None
    message: str | None


@dataclass(frozen=True)
class Status:
    """The whole store: stages in the order in which they ran, open units, and what other params would find again."""

    stages: list[StageStatus]
    units: list[UnitStatus]
    n_needed: int
    n_other: int
    n_other_bytes: int
    n_bytes: int

    def lines(self) -> Iterator[str]:
        """Yield the status for people."""
        yield from torn_lines()
        width = max([5, *(len(row.stage) for row in self.stages)])
        yield f"{'stage':<{width}}  units  done  running  interrupted  failed          left       disk"
        for row in self.stages:
            left = duration(row.seconds_left) if row.finished < row.n_units else "-"
            counts = f"{row.n_units:>5}  {row.finished:>4}  {row.running:>7}  {row.interrupted:>11}  {row.failed:>6}"
            yield f"{row.stage:<{width}}  {counts}  {left:>12}  {size_text(row.n_bytes):>9}"
        for unit in self.units:
            yield f"  {unit.name}: {_describe(unit)}"
        yield (
            f"store: {size_text(self.n_bytes)}. {self.n_needed} finished units serve today's params.yaml; {self.n_other} "
            f"({size_text(self.n_other_bytes)}) would serve other params again. stitchfold clean says which can go."
        )


def read_status() -> Status:
    """Return the status of the store under today's params.yaml."""
    params = read_files([PARAMS])[PARAMS]
    stored = {unit.key: unit for unit in stored_units()}
    stages: dict[str, dict[str, str]] = {}
    for stage, request in _latest(params, read_requests()).items():
        known = {key: name for key, name in request.units.items() if key in stored or stage.kind not in PASSING}
        over_all_folds = replace(stage, task=None, repeat=None, fold=None)
        stages.setdefault(over_all_folds.name, {}).update(known)
    asked = {key: name for units in stages.values() for key, name in units.items()}
    finished = {key for key, unit in stored.items() if unit.state == "finished"}
    other = [stored[key] for key in finished - asked.keys()]
    return Status(
        stages=[_stage(stage, [stored.get(key) for key in units]) for stage, units in stages.items() if units],
        units=[_unit(stored[key], name) for key, name in asked.items() if key in stored and key not in finished],
        n_needed=len(finished & asked.keys()),
        n_other=len(other),
        n_other_bytes=_bytes(other),
        n_bytes=_bytes(list(stored.values())),
    )


def _latest(params: dict[str, Any], requests: list[Request]) -> dict[Stage, Request]:
    """Return by stage the last request under today's settings, in the order in which the stages last asked."""
    latest: dict[Stage, Request] = {}
    for request in requests:
        part, before = part_of(params, request.stage), latest.get(request.stage)
        is_current = part is not None and part_of(request.params, request.stage) == part
        if is_current and (request.by_dvc or before is None or not before.by_dvc):
            latest.pop(request.stage, None)
            latest[request.stage] = request
    return latest


def _stage(stage: str, units: list[StoredUnit | None]) -> StageStatus:
    begun = [unit for unit in units if unit is not None]
    states = Counter(unit.state for unit in begun)
    counts = {state: states[state] for state in ("finished", "running", "interrupted", "failed")}
    seconds_left = _left(begun, len(units) - states["finished"])
    return StageStatus(stage, len(units), **counts, seconds_left=seconds_left, n_bytes=_bytes(begun))


def _left(begun: list[StoredUnit], n_open: int) -> float | None:
    """Return the seconds left if all open units take as long as those that run, and as many run at once."""
    running = [(unit.seconds_left, unit.progress) for unit in begun if unit.seconds_left is not None]
    if not running:
        return None
    whole = sum(progress["n_steps"] * progress["seconds_per_step"] for _, progress in running) / len(running)
    rest = sum(left for left, _ in running) + whole * (n_open - len(running))
    return rest / len(running)


def _unit(unit: StoredUnit, name: str) -> UnitStatus:
    step = None if (noted := unit.progress.get("step")) is None else int(noted)
    n_steps = None if (noted := unit.progress.get("n_steps")) is None else int(noted)
    # An interrupted unit goes on from its checkpoint, which may lie behind the last step that it noted.
    step = unit.step if unit.state == "interrupted" else step
    message = f"{unit.failure.get('code')} {unit.failure.get('message')}" if unit.state == "failed" else None
    return UnitStatus(name, unit.state, step, n_steps, unit.seconds_left, message)


def _describe(unit: UnitStatus) -> str:
    if unit.message is not None:
        return f"failed, {unit.message}"
    if unit.step is None:
        return unit.state
    share = f" of {unit.n_steps} ({unit.step / unit.n_steps:.0%})" if unit.n_steps else ""
    left = f", {duration(unit.seconds_left)} left" if unit.state == "running" else ""
    return f"{unit.state} at step {unit.step}{share}{left}"


def _bytes(units: list[StoredUnit]) -> int:
    return disk_usage([unit.folder for unit in units])[0]
