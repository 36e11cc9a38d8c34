"""A time budget: until when a stage may work, whether what is open can end by then, and what the stage does if it cannot.

The first steps of a unit are its forecast: nothing is measured aside, and what was begun lies in the store for a later run.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from pipeline.artifacts.files import write_json
from pipeline.artifacts.left_out import LeftOut, left_out_text, read_left_out
from pipeline.artifacts.paths import FIRST_SUBMISSION
from pipeline.errors.exceptions import DataError, InterruptedRun
from pipeline.params.root import Params, Run
from pipeline.units.devices import worker_count
from pipeline.units.notes import read_progress
from pipeline.units.stage import recorded_runs
from pipeline.units.stop_signals import dvc_above, request_stop
from pipeline.units.unit import Unit

if TYPE_CHECKING:
    from pipeline.artifacts.table import Table  # imports pandas

PATIENCE_RATIO, LEAST_PATIENCE = 0.01, 3.0  # of the budget; seconds for which a forecast must say that it is hopeless
# In what a stage takes to start on this machine now, about a second where these were measured: a stage that leaves its work
# out; the last stages; stacking, per row, label and model.
SKIPPED, LAST, STACKED = 2.5, 10.0, 7e-5
MARGIN = 1.2
LAST_STAGES = ("stack", "submit", "report")
log = logging.getLogger(__name__)


class OutOfTime(InterruptedRun):
    """The time that the budget leaves to a stage is over, or will be long before its units can end."""


def run_started() -> float:
    """Return when this run began, as a time of day: the `dvc` above this process, or without one the process itself."""
    process = dvc_above()
    return psutil.Process(process and process.pid).create_time()


def own_seconds() -> float:
    """Return for how many seconds this process has been there."""
    return time.time() - psutil.Process().create_time()


@dataclass
class Budget:
    """The time of a stage's units: `hours` since `started`, less the seconds of what must follow. None: no limit.

    `more` is what must still be done with the units when they have ended, as a share of the time that they take.
    """

    hours: float | None = None
    started: float = field(default_factory=run_started)
    reserve: float = 0.0
    more: float = 0.0
    clock: Callable[[], float] = time.time
    needed: float | None = None
    dropped: list[str] = field(default_factory=list)
    _hopeful_at: float | None = None
    _stopped: bool = False

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return float("inf") if self.hours is None else self.started + 3600 * self.hours - self.reserve - self.clock()

    @property
    def hours_needed(self) -> float:
        """Return the budget in which the units would about have ended, or at least begun where no step told more."""
        needed = (1 + self.more) * (self.needed or 0.0)
        return (self.clock() - self.started + needed + self.reserve) / 3600

    def look(self, units: Sequence[Unit], run: Run) -> None:
        """Ask this process to stop if the time is over, or if for a while the forecast says that it will be."""
        if self.hours is None or self._stopped:
            return
        needed, now = forecast(units, worker_count(run)), self.clock()
        self.needed = self.needed if needed is None else needed
        if self._hopeful_at is None or (1 + self.more) * (needed or 0.0) <= self.left:
            self._hopeful_at = now
        patience = max(LEAST_PATIENCE, PATIENCE_RATIO * 3600 * self.hours)
        if self.left <= 0 or now - self._hopeful_at >= patience:
            self._stopped = True
            request_stop()

    def drop(self, models: Sequence[str], *, seconds: float, n_left: int) -> None:
        """Add to `dropped` the last of some models, if there is no time for all of them.

        All of them together took `seconds` for one fold, and `n_left` more folds are to come.

        Raises:
            OutOfTime: if there is no time for any.
        """
        needed = n_left * seconds
        if needed <= self.left or not n_left:
            return
        self.needed, n_kept = needed, int(len(models) * max(self.left, 0) / needed)
        if not n_kept:
            raise OutOfTime(f"{n_left} folds were not begun")
        self.dropped += models[n_kept:]

    def refuse_late(self, n_units: int) -> None:
        """Begin no units when the time is over.

        Raises:
            OutOfTime: if it is, and there are any.
        """
        if n_units and self.left <= 0:
            raise OutOfTime(f"{n_units} units were not begun")

    def refuse_stopped(self, units: Sequence[Unit], errors: Sequence[Exception]) -> None:
        """Go on to nothing else with units that `look` has stopped, unless there are errors of another kind.

        Raises:
            OutOfTime: if it has.
        """
        if self._stopped and all(isinstance(error, InterruptedRun) for error in errors):
            n_finished = sum(unit.result.exists() for unit in units)
            raise OutOfTime(f"{n_finished} of {len(units)} units ended, the others were stopped at a checkpoint")


def forecast(units: Sequence[Unit], n_workers: int) -> float | None:
    """Return in how many seconds units will end, so many at once, by the steps of those begun; None before the first."""
    waiting = [read_progress(unit.folder) for unit in units if not unit.result.exists()]
    begun = [progress for progress in waiting if "step" in progress and progress.get("seconds_per_step")]
    if waiting and not begun:
        return None
    left = [(progress["n_steps"] - progress["step"]) * progress["seconds_per_step"] for progress in begun]
    left += [max(p["n_steps"] * p["seconds_per_step"] for p in begun)] * (len(waiting) - len(begun)) if begun else []
    busy = [0.0] * n_workers
    for seconds in left:
        busy[busy.index(min(busy))] += seconds
    return max(busy)


def budget_for(hours: float | None, table: "Table", *, n_stages: int, n_models: int) -> Budget:
    """Return the budget of a stage, of the `hours` of the whole run: with a reserve for what follows.

    That are the end of the stage itself, `n_stages` which may leave something out, and the last stages, which take what they
    took before or, if that is more, what the size of the table and the `n_models` to stack say.
    """
    start, last_runs = own_seconds(), [run for run in recorded_runs() if run.stage.kind in LAST_STAGES]
    n_labels = sum(len(table.select(task, "train")) * len(labels) for task, labels in table.labels.items())
    last = max(sum(run.seconds for run in last_runs), start * (LAST + STACKED * n_labels * n_models))
    return Budget(hours, reserve=MARGIN * (start * SKIPPED * (1 + n_stages) + last))


def without_left_out(params: Params, *, stitched: bool = True) -> Params:
    """Return the params of what was made: without encoders, and what is `stitched` from them, that stages left out."""
    return params.without([note["model"] for note in read_left_out(params.encoders, stitched=stitched)])


def refuse_left_out(params: Params) -> None:
    """Refuse to submit the predictions of a model that was left out.

    Raises:
        DataError: if params choose one.
    """
    if params.submit.model not in ("ensemble", *without_left_out(params).stages):
        raise DataError(
            f"submit.model: must be a model that was made, got {params.submit.model!r}, for which run.budget_hours left no "
            f"time. Raise it, or set submit.model: ensemble. {FIRST_SUBMISSION} holds the submission of the best baseline."
        )


@contextmanager
def leaving_out(models: Sequence[str], note: Path, budget: Budget) -> Iterator[None]:
    """Do the work of a stage on models; those for which its time does not suffice are noted instead, and it ends well."""
    note.unlink(missing_ok=True)
    kept, left_out = "folds that ended before are kept", budget.dropped
    try:
        yield
    except OutOfTime as error:
        kept, left_out = str(error), list(models)
    if left_out and budget.hours is not None:
        known, hours = budget.needed is not None, (budget.hours, budget.hours_needed)
        notes = [
            LeftOut(model=model, kept=kept, budget_hours=hours[0], hours_needed=hours[1], is_known=known)
            for model in left_out
        ]
        write_json(note, notes)
        log.warning("%s", "\n".join(map(left_out_text, notes)))
