"""A watch over units that took steps and take no more: their process is ended, so that the unit can be tried again."""

import logging
import os
import signal
import time
from contextlib import suppress

from pipeline.artifacts.paths import LAST_ERROR
from pipeline.errors.error_block import show
from pipeline.errors.exceptions import MachineError
from pipeline.units.locks import holder
from pipeline.units.notes import PROGRESS, read_progress
from pipeline.units.unit import Unit

MANY_STEPS = 50  # a silence as long as so many steps is not one slow step
log = logging.getLogger(__name__)


class HangWatch:
    """Ends the process of a unit whose `progress.json` stands still for `hang_seconds` and many steps.

    Units that have noted no step, or their last one, are left alone: nobody knows how long the rest may take.
    """

    def __init__(self, units: list[Unit], *, hang_seconds: float | None) -> None:
        self.units, self.hang_seconds = units, hang_seconds
        self.beats: dict[str, tuple[tuple[int, int], float]] = {}
        self.ended: set[str] = set()

    def look(self) -> None:
        """End what hangs now."""
        for unit in self.units if self.hang_seconds is not None else ():
            if (pid := self.hanging(unit)) is not None:
                self._end(unit, pid)

    def hanging(self, unit: Unit) -> int | None:
        """Return the process of a unit that hangs, else None."""
        pid, progress = holder(unit.folder), read_progress(unit.folder)
        try:
            noted = (unit.folder / PROGRESS).stat().st_mtime_ns
            steps_left, pace = progress["n_steps"] - progress["step"], progress["seconds_per_step"]
        except (OSError, KeyError):
            return None
        if pid is None or steps_left <= 0:
            return None
        # Against our own clock: somebody may set that of the machine. A pid and a time: a retried unit begins anew.
        beat, since = self.beats.get(unit.key, (None, 0.0))
        if beat != (pid, noted):
            self.beats[unit.key] = ((pid, noted), time.monotonic())
            return None
        silent = time.monotonic() - since
        return pid if silent > max(self.hang_seconds or 0.0, MANY_STEPS * pace) else None

    def _end(self, unit: Unit, pid: int) -> None:
        """Kill the process: what hangs writes no checkpoint any more."""
        error = MachineError(
            f"{unit.name}: took no step for {self.hang_seconds:.0f} s and was ended. Look at the device; "
            "run.hang_seconds says how long to wait.",
            code="E404",
        )
        self.ended.add(unit.key)
        if pid == os.getpid():
            show(error, LAST_ERROR)
            os._exit(error.exit_code)
        log.error("%s", error)
        self.beats.pop(unit.key)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
