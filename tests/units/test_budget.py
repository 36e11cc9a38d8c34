"""Time budgets, by a simulated clock: forecasts, when a stage gives its units up, and what it notes in their stead."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.artifacts.files import read_json
from pipeline.errors.exceptions import DataError, InterruptedRun
from pipeline.params.root import Run
from pipeline.units import budget as budgets
from pipeline.units import stop_signals
from pipeline.units.budget import Budget, OutOfTime, forecast, leaving_out
from pipeline.units.execution import Workspace, run_units
from pipeline.units.stage import LastRun, Stage
from pipeline.units.unit import Unit

RUN = Run(backend="sequential", device="cpu")
HOUR = 3600.0


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stop_signals, "_requested", None)
    return Clock()


def hour_of(clock: Clock, **changes: float) -> Budget:
    """Return a budget of an hour that has just begun."""
    return Budget(hours=1.0, started=0.0, clock=clock, **changes)


def begun(*steps: int, of: int = 100, seconds_per_step: float = 1.0) -> list[Unit]:
    """Return units in the store that have taken so many steps; those of none have not begun."""
    units = [Unit(f"unit {n}", {"n": n}) for n in range(len(steps))]
    for unit, step in zip(units, steps, strict=True):
        unit.folder.mkdir(parents=True, exist_ok=True)
        note = {"step": step, "n_steps": of, "seconds_per_step": seconds_per_step}
        (unit.folder / "progress.json").write_text(json.dumps(note if step else {}), encoding="utf-8")
    return units


@pytest.mark.parametrize(
    ("steps", "n_workers", "seconds"),
    [((40,), 1, 60.0), ((40, 50), 2, 60.0), ((40, 50, 0), 2, 150.0), ((40, 0, 0, 0, 0), 2, 260.0), ((0, 0), 2, None)],
)
def test_the_steps_of_units_that_have_begun_forecast_all(
    clock: Clock, steps: tuple[int, ...], n_workers: int, seconds: float | None
) -> None:
    assert forecast(begun(*steps), n_workers) == seconds


def test_units_that_ended_take_no_time(clock: Clock) -> None:
    unit = begun(90)[0]
    unit.result.mkdir()
    assert forecast([unit], 1) == 0.0


@pytest.mark.parametrize(
    ("at", "seconds_per_step", "stops"),
    [(0.0, 1.0, False), (HOUR, 1.0, True), (HOUR - 100, 1.0, True), (0.0, 50.0, True), (0.0, 0.0, False)],
    ids=["time enough", "over", "within the reserve", "a forecast of more than an hour", "no step yet"],
)
def test_units_are_stopped_when_the_time_is_over_or_will_surely_be(
    clock: Clock, at: float, seconds_per_step: float, stops: bool
) -> None:
    budget, units = hour_of(clock, reserve=200.0), begun(20, seconds_per_step=seconds_per_step)
    for clock.now in (at, at + 40):
        budget.look(units, RUN)
    assert (stop_signals.stop_requested() is not None) == stops


def test_a_slow_moment_stops_nothing(clock: Clock) -> None:
    budget = hour_of(clock)
    for seconds_per_step in (1.0, 90.0, 1.0, 90.0):
        budget.look(begun(20, seconds_per_step=seconds_per_step), RUN)
        clock.now += 30
    assert stop_signals.stop_requested() is None


def test_what_predictions_will_take_counts_before_they_begin(clock: Clock) -> None:
    budget, units = hour_of(clock, more=0.5), begun(20, seconds_per_step=40.0)
    for clock.now in (0.0, 40.0):
        budget.look(units, RUN)
    assert stop_signals.stop_requested() and budget.hours_needed == pytest.approx((40 + 1.5 * 80 * 40) / HOUR)


def count(workspace: Workspace, *, moved: Callable[[int], None]) -> None:
    """Count to three with a checkpoint at each number, as training does, and stop when asked to."""
    state = workspace.checkpoints.load() or {"step": 0}
    while state["step"] < 3:
        state = {"step": state["step"] + 1}
        workspace.checkpoints.save(state["step"], state)
        moved(state["step"])
        if code := workspace.stop_requested():
            raise InterruptedRun("stopped", code)
    (workspace.result / "value.txt").touch()


def test_a_unit_without_time_stops_at_a_checkpoint_and_a_later_run_goes_on_from_there(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, steps, unit = hour_of(clock), [], Unit("slow", {"n": 1})

    def moved(step: int) -> None:
        clock.now = HOUR * step / 2
        steps.append(step)
        budget.look([unit], RUN)

    jobs = [(unit, count, {"moved": moved})]
    with leaving_out(["slow"], Path("left_out.json"), budget):
        run_units(jobs, run=RUN, stage=Stage("s"), budget=budget)
    assert [note["model"] for note in read_json(Path("left_out.json"))] == ["slow"]
    with pytest.raises(OutOfTime, match="1 units were not begun"):
        run_units(jobs, run=RUN, stage=Stage("s"), budget=budget)
    monkeypatch.setattr(stop_signals, "_requested", None)
    with leaving_out(["slow"], Path("left_out.json"), Budget()):
        run_units([(unit, count, {"moved": steps.append})], run=RUN, stage=Stage("s"))
    assert steps == [1, 2, 3] and unit.is_finished() and not Path("left_out.json").exists()
    run_units(jobs, run=RUN, stage=Stage("s"), budget=hour_of(clock))  # what is in the store takes no time


def test_an_error_is_no_want_of_time(clock: Clock) -> None:
    budget, units = hour_of(clock), begun(1)
    clock.now = HOUR
    budget.look(units, RUN)
    budget.refuse_stopped(units, [DataError("rows: must be many, got none. Add some.")])
    with pytest.raises(OutOfTime, match="0 of 1 units ended"):
        budget.refuse_stopped(units, [InterruptedRun("stopped")])


@pytest.mark.parametrize(
    ("seconds", "dropped"), [(1000.0, []), (1800.0, ["c"]), (2500.0, ["b", "c"]), (6000.0, None)], ids=str
)
def test_of_stitched_pairs_the_last_ones_are_dropped_after_a_fold(
    clock: Clock, seconds: float, dropped: list[str] | None
) -> None:
    budget = hour_of(clock)
    clock.now = 600.0
    with leaving_out(["a", "b", "c"], Path("left_out.json"), budget):
        budget.drop(["a", "b", "c"], seconds=seconds, n_left=2)
    noted = [note["model"] for note in read_json(Path("left_out.json"))] if dropped != [] else []
    assert noted == (["a", "b", "c"] if dropped is None else dropped)


def test_the_reserve_grows_with_the_table_the_stages_that_follow_and_what_they_took_before(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reserve(n_rows: int, n_stages: int) -> float:
        table = SimpleNamespace(labels={"t": ["a", "b"]}, select=lambda task, split: range(n_rows))
        return budgets.budget_for(1.0, table, n_stages=n_stages, n_models=10).reserve

    monkeypatch.setattr(budgets, "own_seconds", lambda: 1.0)
    small = reserve(100, 1)
    assert small < reserve(100, 3) < reserve(100_000, 3)
    LastRun(Stage("stack"), computed=1, reused=0, seconds=500.0).write()
    assert reserve(100, 1) > 500 > small
