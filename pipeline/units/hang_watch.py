"""A watch over units that do nothing any more: their process is ended, so that the unit can be tried again.

Between its first step and its last a unit that lives takes steps. Before and after nobody knows how long the work may take,
but what works takes CPU time: a process that takes none hangs, be it stopped, or waiting for what never comes.
"""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

from pipeline.artifacts.paths import LAST_ERROR
from pipeline.errors.error_block import show
from pipeline.errors.exceptions import MachineError
from pipeline.units.locks import Writer, noted_writer
from pipeline.units.notes import PROGRESS, read_progress
from pipeline.units.processes import ProcessIdentity, identity
from pipeline.units.store import if_free
from pipeline.units.unit import Unit

MANY_STEPS = 50  # a silence as long as so many steps is not one slow step
IDLE_SHARE = 0.01  # of one CPU: what a process takes that only looks now and then whether its stage is still there
LOOKS = 20  # within `hang_seconds`
MOST_SECONDS_BETWEEN_LOOKS = 30.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Beat:
    """A sign of life: who gave it, at which note of a step, when, and the CPU time that the process had taken by then."""

    process: ProcessIdentity
    noted_at: int | None
    at: float
    cpu_seconds: float


class HangWatch:
    """Ends the processes of this stage's units that take no step, or where none is due no CPU time, for `hang_seconds`.

    Only a process that this stage started, or is, can be ended: a note may name a number that is somebody else's by now.
    """

    def __init__(self, units: list[Unit], *, hang_seconds: float | None) -> None:
        self.units, self.hang_seconds = units, hang_seconds or 0.0
        self.on = hang_seconds is not None
        self.between_looks = min(self.hang_seconds / LOOKS, MOST_SECONDS_BETWEEN_LOOKS)
        self.beats: dict[str, Beat] = {}
        self.ended: set[str] = set()
        self.stage = identity()
        self.looked_at, self.awake = time.monotonic(), 0.0

    def look(self) -> None:
        """End what hangs now, unless the last look was only just."""
        passed = time.monotonic() - self.looked_at
        if not self.on or passed < self.between_looks:
            return
        # Our own time: a clock may be set, and while we ourselves are stopped (Ctrl-Z) nobody can take a step.
        self.awake += min(passed, max(2 * self.between_looks, 2.0))
        self.looked_at += passed
        at_work = {unit.key: writer for unit in self.units if (writer := self._writer(unit)) is not None}
        for unit in self.units:
            if unit.key in at_work and self.hangs(unit, at_work[unit.key]):
                self._end(unit, at_work[unit.key])
        known = {writer.process.pid for writer in at_work.values()}
        for worker in self._stopped_workers():
            if worker.pid not in known and self._is_silent(f"worker {worker.pid}", worker, None, self.hang_seconds):
                log.error("worker %d: was stopped for %.0f s and is ended", worker.pid, self.hang_seconds)
                _kill(worker)

    def hangs(self, unit: Unit, writer: Writer) -> bool:
        """Return whether a unit, with its writer, hangs."""
        progress = read_progress(unit.folder)
        try:
            noted_at = (unit.folder / PROGRESS).stat().st_mtime_ns
            steps_left, pace = progress["n_steps"] - progress["step"], progress["seconds_per_step"]
        except (OSError, KeyError):
            noted_at, steps_left, pace = None, 0.0, 0.0
        patience = max(self.hang_seconds, MANY_STEPS * pace)
        return self._is_silent(unit.key, writer.process, noted_at, patience, steps_due=steps_left > 0)

    def _writer(self, unit: Unit) -> Writer | None:
        writer = noted_writer(unit.folder)
        return writer if writer is not None and writer.stage == self.stage and writer.process.is_alive() else None

    def _is_silent(
        self, name: str, process: ProcessIdentity, noted_at: int | None, patience: float, *, steps_due: bool = False
    ) -> bool:
        """Return whether a process has given no sign of life for too long."""
        cpu_seconds, beat = process.cpu_seconds(), self.beats.get(name)
        # A retried unit begins anew, with another process.
        lives = beat is None or (beat.process, beat.noted_at) != (process, noted_at)
        if not lives and beat is not None and not steps_due:
            lives = cpu_seconds - beat.cpu_seconds > IDLE_SHARE * patience
        if lives or beat is None:
            self.beats[name] = Beat(process, noted_at, self.awake, cpu_seconds)
            return False
        return self.awake - beat.at > patience

    def _stopped_workers(self) -> Iterator[ProcessIdentity]:
        """Yield the workers that somebody has stopped: one that has not begun a unit yet holds the run up too."""
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                if child.status() == psutil.STATUS_STOPPED and (worker := identity(child.pid)) is not None:
                    yield worker

    def _end(self, unit: Unit, writer: Writer) -> None:
        """Kill the process: what hangs writes no checkpoint any more."""
        with if_free(unit.folder) as free:
            if free or self._writer(unit) != writer:  # it came to its end just now
                return
        error = MachineError(
            f"{unit.name}: took no step for {self.hang_seconds:.0f} s and was ended. Look at the device; "
            "run.hang_seconds says how long to wait.",
            code="E404",
        )
        self.ended.add(unit.key)
        if writer.process == self.stage:
            show(error, LAST_ERROR)
            os._exit(error.exit_code)
        if _kill(writer.process):
            log.error("%s", error)
            self.beats.pop(unit.key)


def _kill(worker: ProcessIdentity) -> bool:
    """Kill a process that this one started; return whether it is one."""
    with suppress(psutil.Error):
        process = psutil.Process(worker.pid)
        if worker.is_alive() and os.getpid() in (parent.pid for parent in process.parents()):
            process.send_signal(signal.SIGKILL)
            return True
    return False
