"""Signals to a whole stage, also when its workers hold the work."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from pipeline.errors.exceptions import InterruptedRun
from pipeline.params.root import Run
from pipeline.stage_run import exit_on_error
from pipeline.units import execution
from pipeline.units.execution import run_units
from pipeline.units.processes import ProcessIdentity
from pipeline.units.stage import Stage
from pipeline.units.stop_signals import stop_on_signals, stop_requested
from pipeline.units.unit import Unit
from tests.children import begin_in_child
from tests.conftest import HANG_SECONDS, ROOT
from tests.units.works import save_when_stopped

SCRIPT = "from tests.units.test_stop_signals import run_stage\nrun_stage(1, 1.0)\n"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    get_reusable_executor().shutdown(wait=True)  # a child cannot use the workers of its parent


def run_stage(n_workers: int, save_seconds: float) -> None:
    """Do the work of a stage of two units."""
    with exit_on_error():
        arguments = {"save_seconds": save_seconds}
        jobs = [(Unit(f"unit {n}", {"n": n}), save_when_stopped, arguments) for n in range(2)]
        run_units(jobs, run=Run(n_workers=n_workers, device="cpu"), stage=Stage("s"))


def start(n_workers: int, *, save_seconds: float = 0.3) -> int:
    """Start a stage in a child that leads a group of its own; return its process when the workers are at work."""

    def work() -> None:
        os.setsid()
        run_stage(n_workers, save_seconds)

    child = begin_in_child(work)
    wait_for("started", n_workers, lambda: os.waitpid(child, os.WNOHANG) == (0, 0))
    return child


def wait_for(name: str, n: int, lives: Callable[[], bool] = lambda: True) -> None:
    """Wait until a file lies in n units, while the process that shall write them lives."""
    end = time.monotonic() + HANG_SECONDS
    while time.monotonic() < end:
        if len(list(Path().glob(f".stitchfold/units/*/{name}"))) >= n:
            return
        assert lives(), f"{name}: the process ended before"
        time.sleep(0.1)
    raise AssertionError(f"{name} did not appear")


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check_stopped(child: int, n_workers: int, code: int) -> None:
    assert exit_code(child) == code
    error = json.loads(Path("out/last_error.json").read_text(encoding="utf-8"))
    assert "Run dvc repro to continue" in error["message"]
    assert len(list(Path().glob(".stitchfold/units/*/saved"))) == n_workers


@pytest.mark.parametrize(
    ("n_workers", "number", "code"),
    [
        (1, signal.SIGTERM, 143),
        (1, signal.SIGINT, 130),
        (2, signal.SIGTERM, 143),
        pytest.param(2, signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_F2_I8_a_signal_saves_the_work_and_sets_the_exit_code(n_workers: int, number: int, code: int) -> None:
    """SIGTERM and SIGINT let the units write a checkpoint, within seconds, and end the stage with 143 or 130."""
    child = start(n_workers)
    os.kill(child, number)
    check_stopped(child, n_workers, code)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_F2_a_signal_that_reaches_stage_and_workers_at_once_saves_the_work_too(number: int, code: int) -> None:
    """Ctrl-C reaches the whole group; that is one request, not two."""
    child = start(2)
    os.killpg(child, number)
    check_stopped(child, 2, code)


def test_F2_a_second_signal_ends_the_process_at_once() -> None:
    """Who sends a second signal, later, does not want to wait for the checkpoint; what is published stays whole."""
    child = start(1, save_seconds=2 * HANG_SECONDS)
    os.kill(child, signal.SIGTERM)
    wait_for("saving", 1)
    time.sleep(2.1)
    os.kill(child, signal.SIGTERM)
    assert exit_code(child) == 143
    assert not list(Path().glob(".stitchfold/units/*/saved"))


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_F3_I7_the_death_of_dvc_stops_the_stage(tmp_path, shell: str) -> None:
    """A stage whose `dvc` was killed notices, also when a shell stands between them, writes its checkpoint and ends."""
    launcher = tmp_path / "dvc"
    launcher.write_text(
        f"import subprocess\nsubprocess.run(['{shell}', '-c', '{sys.executable} script.py; true'])\n",
        encoding="utf-8",
    )
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    dvc = subprocess.Popen([sys.executable, str(launcher)], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    wait_for("started", 1, lambda: dvc.poll() is None)
    dvc.kill()
    dvc.wait()
    wait_for("saved", 1)


def test_F3_I7_a_worker_whose_stage_was_gone_before_it_looked_begins_nothing() -> None:
    """A worker that still imports when its stage dies is handed to init; it knows its stage, so it knows that it is alone."""
    gone = ProcessIdentity(pid=2**22 + 1, started="1", boot="b")

    def look() -> None:
        with stop_on_signals(stage=gone):
            sys.exit(stop_requested())

    assert exit_code(begin_in_child(look)) == 143


def test_F2_a_stage_asked_to_stop_when_its_last_unit_ends_writes_nothing_more(monkeypatch) -> None:
    """A request to stop that comes with the end of the last unit stops the stage too: its `dvc` may be gone."""
    monkeypatch.setattr(execution, "stop_requested", lambda: 143)
    monkeypatch.setattr(execution, "_attempt", lambda *_: [])
    with pytest.raises(InterruptedRun, match="all units are finished. Run dvc repro"):
        run_units([(Unit("unit", {"n": 0}), lambda: None, {})], run=Run(device="cpu"), stage=Stage("s"))
