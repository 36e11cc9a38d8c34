"""Signals to a whole stage, also when its workers hold the work."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors.exceptions import InterruptedRun
from pipeline.params.root import Run
from pipeline.units import execution
from pipeline.units.execution import run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit
from tests.conftest import HANG_SECONDS, ROOT

SCRIPT = """
import sys, time
from pipeline.errors.exceptions import InterruptedRun
from pipeline.params.root import Run
from pipeline.stage_run import exit_on_error
from pipeline.units.execution import run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit

def work(workspace, *, n):
    (workspace.unit.folder / "started").touch()
    while True:
        time.sleep(0.05)
        code = workspace.stop_requested()
        if code:
            (workspace.unit.folder / "saving").touch()
            time.sleep(float(sys.argv[2]))  # as long as a checkpoint may take
            (workspace.unit.folder / "saved").touch()
            raise InterruptedRun("stopped. Run dvc repro to continue.", code)

if __name__ == "__main__":
    with exit_on_error():
        jobs = [(Unit(f"unit {n}", {"n": n}), work, {"n": n}) for n in range(2)]
        run_units(jobs, run=Run(n_workers=int(sys.argv[1]), device="cpu"), stage=Stage("s"))
"""


def start(folder: Path, n_workers: int, *, save_seconds: float = 1.0) -> subprocess.Popen:
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "script.py", str(n_workers), str(save_seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_for(folder, "started", n_workers, process)
    except AssertionError:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process


def wait_for(folder: Path, name: str, n: int, process: subprocess.Popen | None = None) -> None:
    """Wait until a file lies in n units, while the process that shall write them lives."""
    end = time.monotonic() + HANG_SECONDS
    while time.monotonic() < end:
        if len(list(folder.glob(f".stitchfold/units/*/{name}"))) >= n:
            return
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"{name} did not appear")


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_F2_I8_a_signal_saves_the_work_and_sets_the_exit_code(tmp_path, n_workers: int, number: int, code: int) -> None:
    """SIGTERM and SIGINT let the units write a checkpoint, within seconds, and end the stage with 143 or 130."""
    process = start(tmp_path, n_workers)
    process.send_signal(number)
    check_stopped(process, tmp_path, n_workers, code)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_F2_a_signal_that_reaches_stage_and_workers_at_once_saves_the_work_too(
    tmp_path, number: int, code: int
) -> None:
    """Ctrl-C reaches the whole group; that is one request, not two."""
    process = start(tmp_path, 2)
    os.killpg(process.pid, number)
    check_stopped(process, tmp_path, 2, code)


def test_F2_a_second_signal_ends_the_process_at_once(tmp_path) -> None:
    """Who sends a second signal, later, does not want to wait for the checkpoint; what is published stays whole."""
    process = start(tmp_path, 1, save_seconds=2 * HANG_SECONDS)
    process.send_signal(signal.SIGTERM)
    wait_for(tmp_path, "saving", 1, process)
    time.sleep(2.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=HANG_SECONDS) == 143
    assert not list(tmp_path.glob(".stitchfold/units/*/saved"))


def check_stopped(process: subprocess.Popen, folder: Path, n_workers: int, code: int) -> None:
    _, error = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == code, error
    assert "Run dvc repro to continue" in error
    assert len(list(folder.glob(".stitchfold/units/*/saved"))) == n_workers


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_F3_I7_the_death_of_dvc_stops_the_stage(tmp_path, shell: str) -> None:
    """A stage whose `dvc` was killed notices, also when a shell stands between them, writes its checkpoint and ends."""
    launcher = tmp_path / "dvc"
    launcher.write_text(
        f"import subprocess\nsubprocess.run(['{shell}', '-c', '{sys.executable} script.py 1 1; true'])\n",
        encoding="utf-8",
    )
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    dvc = subprocess.Popen([sys.executable, str(launcher)], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    wait_for(tmp_path, "started", 1, dvc)
    dvc.kill()
    dvc.wait()
    wait_for(tmp_path, "saved", 1)


LATE = """
import os, sys, time
from pathlib import Path
from pipeline.units.processes import ProcessIdentity
from pipeline.units.stop_signals import stop_on_signals, stop_requested
stage = ProcessIdentity(pid=2**22 + 1, started="1", boot="b")
with stop_on_signals(stage=stage):
    print(stop_requested())
"""


def test_F3_I7_a_worker_whose_stage_was_gone_before_it_looked_begins_nothing(tmp_path) -> None:
    """A worker that still imports when its stage dies is handed to init; it knows its stage, so it knows that it is alone."""
    done = subprocess.run(
        [sys.executable, "-c", LATE], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.stdout.split() == [b"143"]


def test_F2_a_stage_asked_to_stop_when_its_last_unit_ends_writes_nothing_more(tmp_path, monkeypatch) -> None:
    """A request to stop that comes with the end of the last unit stops the stage too: its `dvc` may be gone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(execution, "stop_requested", lambda: 143)
    monkeypatch.setattr(execution, "_attempt", lambda *_: [])
    with pytest.raises(InterruptedRun, match="all units are finished. Run dvc repro"):
        run_units([(Unit("unit", {"n": 0}), lambda: None, {})], run=Run(device="cpu"), stage=Stage("s"))
