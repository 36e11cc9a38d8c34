"""What every backend must keep: units run to their end wherever they run, and give the same bytes."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from pipeline import components
from pipeline.errors.exceptions import DataError, MachineError
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.units.backend import WorkerDied
from pipeline.units.devices import worker_count
from pipeline.units.execution import Workspace, run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit

every_backend = pytest.mark.parametrize("name", components.available("backends"))
WITH_WORKERS = [
    name for name in components.available("backends") if not components.constant("backends", name, "IN_PROCESS")
]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    get_reusable_executor().shutdown(wait=True)  # workers that live on would write into the folder of another test


def call_all(name: str, calls, n_workers: int = 2) -> list:
    return list(Component(kind="backends", name=name).build(n_workers=n_workers)(calls))


def draw(workspace: Workspace, *, seed: int, size: np.ndarray) -> None:
    numbers = np.random.default_rng(seed).random(int(size.sum()))
    (workspace.result / "numbers.bin").write_bytes(numbers.tobytes())


def fail_in_the_middle(workspace: Workspace, *, seed: int) -> None:
    if seed == 1:
        raise DataError("rows: must be many, got none. Add some.")
    if seed == 2:
        raise KeyError("what nobody has foreseen")
    (workspace.result / "x").write_text(str(seed), encoding="utf-8")


def run(name: str, **changes) -> Run:
    return Run.model_validate({"backend": name, "n_workers": 2, "device": "cpu", **changes})


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@every_backend
def test_each_call_is_made_once_and_its_result_given(name: str) -> None:
    assert sorted(call_all(name, [partial(pow, 2, n) for n in range(9)])) == [2**n for n in range(9)]
    assert call_all(name, []) == []


@every_backend
def test_calls_are_drawn_when_it_is_their_turn(name: str) -> None:
    """The arguments of all units at once would fill the memory."""
    drawn = []

    def calls():
        for n in range(50):
            drawn.append(n)
            yield partial(pow, 2, n)

    results = iter(Component(kind="backends", name=name).build(n_workers=2)(calls()))
    next(results)
    assert len(drawn) < 25
    assert len(list(results)) == 49


@every_backend
def test_units_give_the_same_bytes_as_in_a_plain_loop(name: str) -> None:
    jobs = [(Unit(f"u{n}", {"n": n}), draw, {"seed": n, "size": np.full(300_000, n)}) for n in (0, 1, 2)]
    run_units(jobs, run=run(name), stage=Stage("s"))
    for unit, _, arguments in jobs:
        numbers = np.random.default_rng(arguments["seed"]).random(int(arguments["size"].sum()))
        assert (unit.result / "numbers.bin").read_bytes() == numbers.tobytes()


@every_backend
def test_an_error_of_a_unit_is_returned_with_its_name_and_ends_no_other(name: str, caplog) -> None:
    jobs = [(Unit(f"u{n}", {"n": n}), fail_in_the_middle, {"seed": n}) for n in range(4)]
    with pytest.raises(Exception, match=r"u1: rows: must be many|u2: unexpected: KeyError") as caught:
        run_units(jobs, run=run(name), stage=Stage("s"))
    both = f"{caught.value}\n{caplog.text}"
    assert "u1: rows: must be many" in both and "u2: unexpected: KeyError: 'what nobody has foreseen'" in both
    assert [unit.is_finished() for unit, *_ in jobs] == [True, False, False, True]


@pytest.mark.parametrize("name", WITH_WORKERS)
def test_the_death_of_a_worker_is_told_and_the_next_calls_are_made(name: str) -> None:
    with pytest.raises(WorkerDied):
        call_all(name, [die, *(partial(time.sleep, 0.01) for _ in range(3))])
    assert sorted(call_all(name, [partial(pow, 2, n) for n in range(3)])) == [1, 2, 4]


@every_backend
def test_workers_are_counted_as_the_backend_has_them(name: str) -> None:
    n_workers = worker_count(run(name, n_workers=7))
    assert n_workers == (7 if name in WITH_WORKERS else 1)
    assert worker_count(run(name, n_workers=None), n_gpus=3) == (3 if name in WITH_WORKERS else 1)


@pytest.mark.parametrize("name", WITH_WORKERS)
def test_a_unit_that_kills_its_workers_is_given_up_by_name(name: str) -> None:
    def kill(workspace: Workspace) -> None:
        die()

    with pytest.raises(MachineError, match="u0: its worker process died 1 times"):
        run_units([(Unit("u0", {}), kill, {})], run=run(name, max_retries=0), stage=Stage("s"))
    assert not Path("out").exists()
