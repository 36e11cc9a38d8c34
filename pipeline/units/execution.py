"""Units of work in worker processes: those that the store has are left alone, the others computed, several at once."""

import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import publish_folder, write_atomically
from pipeline.errors.exceptions import InterruptedRun, MachineError, PipelineError, as_pipeline_error
from pipeline.errors.failpoints import failpoint
from pipeline.errors.redacting import start_logging
from pipeline.params.root import Run
from pipeline.recipes.declared_inputs import note_opened_files
from pipeline.recipes.stage_inputs import refuse_edited_code
from pipeline.reproducibility import fixed_numerics
from pipeline.units.backend import WorkerDied
from pipeline.units.checkpoints import Checkpoints
from pipeline.units.devices import forget_peak_memory, gpu_count, one_gpu, peak_memory, worker_count
from pipeline.units.differences import explain
from pipeline.units.hang_watch import HangWatch
from pipeline.units.locks import noted_writer, one_writer
from pipeline.units.notes import COST, FAILURE, PROGRESS, UNIT, Failure
from pipeline.units.processes import ProcessIdentity
from pipeline.units.progress import polling, shown_progress
from pipeline.units.requests import note_request
from pipeline.units.stage import LastRun, Stage
from pipeline.units.stop_signals import stop_on_signals, stop_requested
from pipeline.units.store import STORE
from pipeline.units.unit import Unit

log = logging.getLogger(__name__)


@dataclass
class Workspace:
    """What the work of a unit may use: a folder for its result, checkpoints, and a monitor."""

    unit: Unit
    result: Path
    device: str
    checkpoints: Checkpoints
    _written_at: float = 0.0
    _progress: dict[str, float] = field(default_factory=dict)
    _first: tuple[float, float] | None = None

    def progress(self, **values: float) -> None:
        """Note the unit's progress where the stage's process can see it, at most once a second."""
        now = time.monotonic()
        self._progress.update(values)
        if "step" in values:
            started, first = self._first = self._first or (now, values["step"])
            self._progress["seconds_per_step"] = (now - started) / max(values["step"] - first, 1)
        if now - self._written_at > 1:
            self._written_at = now
            (self.unit.folder / PROGRESS).write_text(json.dumps(self._progress), encoding="utf-8")

    def stop_requested(self) -> int | None:
        """Return the exit code to stop with, or None."""
        return stop_requested()


Work = Callable[..., None]
Arguments = dict[str, Any]
Job = tuple[Unit, Work, Arguments | Callable[[], Arguments]]


def run_units(jobs: Sequence[Job], *, run: Run, stage: Stage) -> None:
    """Finish all units: those in the store are left alone, the others computed, several at once.

    Args:
        jobs: for each unit its work, called as `work(workspace, **arguments)` in a worker process, and the arguments, or what
            gives them when it is the unit's turn: those of waiting units then fill no memory.
        run: backend, workers, device and retries.
        stage: what asks for them, for progress and the record of the last run.

    Raises:
        InterruptedRun: if the stage was asked to stop; what was running is checkpointed.
        PipelineError: the first error of a unit, after the others have finished.
        MachineError: if a unit's worker died more than `run.max_retries` times, at last with no other unit at work.
    """
    started = time.monotonic()
    note_request((job[0] for job in jobs), stage=stage)
    open_jobs = [job for job in jobs if not job[0].is_finished()]
    units, n_reused = [job[0] for job in open_jobs], len(jobs) - len(open_jobs)
    log.info("%s: %d units, %d in the store, %d to compute", stage.name, len(jobs), n_reused, len(open_jobs))
    explain(units, store=STORE, strict=run.strict)
    watch = HangWatch(units, hang_seconds=run.hang_seconds)
    with stop_on_signals(), shown_progress(units, stage=stage.name), polling(watch.look):
        errors = _attempt(open_jobs, run, watch) if open_jobs else []
    if code := stop_requested():  # also if all came to their end meanwhile: what follows writes into out/
        text = "\n".join(map(str, errors)) or f"{stage.name}: all units are finished. Run dvc repro to continue."
        raise InterruptedRun(text, code)
    if errors:
        for error in errors[1:]:
            log.error("%s", error)
        raise errors[0]
    LastRun(stage, computed=len(open_jobs), reused=n_reused, seconds=time.monotonic() - started).write()


def _attempt(jobs: Sequence[Job], run: Run, watch: HangWatch) -> list[PipelineError]:
    """Run units until all are finished or failed; those that a dead worker took down are tried again, each alone."""
    call_all = run.backend.build(n_workers=worker_count(run))
    n_deaths: Counter[str] = Counter()
    failed: dict[str, PipelineError] = {}
    groups = [jobs]
    while groups:
        group = groups.pop(0)
        calls = (
            partial(_run_unit, unit, work, arguments() if callable(arguments) else arguments, run, watch.stage)
            for unit, work, arguments in group
        )
        try:
            for key, error in call_all(calls):
                if error is not None:
                    failed[key] = error
        except WorkerDied:  # it may have taken others with it; what is finished lies in the store
            if code := stop_requested():
                return [InterruptedRun("interrupted. Run dvc repro to continue.", code)]
            still_open = [job for job in group if job[0].key not in failed and not job[0].is_finished()]
            # A lock's note outlives a killed writer: it says to whose unit the death may be laid, if it is of this run.
            writers = [noted_writer(job[0].folder) for job in still_open]
            of_this_run = [writer is not None and writer.stage == watch.stage for writer in writers]
            at_work = list(compress(still_open, of_this_run)) or still_open
            n_deaths.update(job[0].key for job in at_work)
            for unit, *_ in at_work if len(at_work) == 1 else ():  # of several at work it may have been any
                if n_deaths[unit.key] > run.max_retries:
                    failed[unit.key] = _worker_died(unit, n_deaths[unit.key], hung=unit.key in watch.ended)
            again = [job for job in at_work if job[0].key not in failed]
            names = ", ".join(job[0].name for job in again)
            log.warning("a worker died; trying again, one at a time: %s", names or "-")
            rest = [job for job in still_open if job not in at_work]
            groups += [[job] for job in again] + ([rest] if rest else [])
    return list(failed.values())


def _worker_died(unit: Unit, n_times: int, *, hung: bool) -> MachineError:
    """Return, and note in the unit's folder, why it is given up."""
    text = (
        f"its worker process died {n_times} times, often for want of memory, at last with nothing beside it. "
        "Lower training.tokens_per_micro_batch or free memory, and run dvc repro."
    )
    if hung:
        text = f"took no step for too long, {n_times} times. Look at the device, or raise run.hang_seconds."
    error = MachineError(f"{unit.name}: {text}", code="E404" if hung else "E405")
    _note_failure(unit, error)
    return error


def _note_failure(unit: Unit, error: PipelineError) -> None:
    """Leave an error in the unit's folder, where `stitchfold status` reads it."""
    with suppress(PipelineError):  # the disk may be what failed
        note = Failure(code=error.code, message=str(error))
        write_atomically(unit.folder / FAILURE, (json.dumps(note, ensure_ascii=False) + "\n").encode())


def _run_unit(
    unit: Unit, work: Work, arguments: Arguments, run: Run, stage: ProcessIdentity | None
) -> tuple[str, PipelineError | None]:
    """Compute a unit in this process and publish its result; return its key and its error, so that it ends no other."""
    note_opened_files()
    start_logging()  # a worker starts without
    numerics = fixed_numerics(run.threads_per_worker, on_gpu=gpu_count(run.device) > 0)
    with stop_on_signals(stage=stage), one_gpu(run.device), numerics:
        if code := stop_requested():
            return unit.key, InterruptedRun(f"{unit.name}: not begun. Run dvc repro to continue.", code)
        try:
            unit.folder.mkdir(parents=True, exist_ok=True)
            with one_writer(unit.folder, name=unit.name, stage=stage, how=run.lock):
                if not unit.is_finished():  # somebody else may have computed it while we waited
                    _compute(unit, work, arguments, run.device)
        except Exception as error:  # also a fault of the program or a library: the other units go on all the same
            explained = as_pipeline_error(error).within(unit.name)
            if not isinstance(explained, InterruptedRun):
                _note_failure(unit, explained)
            return unit.key, explained
    return unit.key, None


def _compute(unit: Unit, work: Work, arguments: Arguments, device: str) -> None:
    # A step noted by an earlier process would have this one's first step awaited before it can be taken.
    for leftover in (*unit.folder.glob(".result.*"), unit.folder / FAILURE, unit.folder / PROGRESS):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    refuse_edited_code()
    note = {"name": unit.name, **unit.depends_on, **unit.described}
    write_atomically(unit.folder / UNIT, (json.dumps(note, indent=1) + "\n").encode())
    temporary = unit.folder / f".result.{os.getpid()}"
    temporary.mkdir()
    workspace = Workspace(unit, temporary, device, Checkpoints(unit.folder / "checkpoints", name=unit.name))
    forget_peak_memory(device)
    try:
        work(workspace, **arguments)
        refuse_edited_code()
        if (most := peak_memory(device)) is not None:
            write_atomically(unit.folder / COST, json.dumps({"peak_memory": most}).encode())
        failpoint("computed")
        publish_folder(temporary, unit.result)
    except Exception:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    failpoint("unpruned")
    workspace.checkpoints.remove()
    (unit.folder / PROGRESS).unlink(missing_ok=True)
