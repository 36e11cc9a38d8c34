"""What units of the tests do. Workers import this page and no more: not pytest, nor what the tests around it need."""

import os
import signal
import time
from pathlib import Path

from pipeline.errors.exceptions import DataError, InterruptedRun
from pipeline.units.execution import Workspace


def write(workspace: Workspace, *, value: str) -> None:
    (workspace.result / "value.txt").write_text(value, encoding="utf-8")
    with Path("log.txt").open("a", encoding="utf-8") as log:
        log.write(value + "\n")


def write_slowly(workspace: Workspace, *, value: str) -> None:
    time.sleep(1)
    write(workspace, value=value)


def die_once(workspace: Workspace, *, value: str) -> None:
    mark = Path(f"died-{value}")
    if value == "1" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    write(workspace, value=value)


def die_of_one(workspace: Workspace, *, value: str) -> None:
    if value == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    write(workspace, value=value)


def die_beside(workspace: Workspace, *, value: str) -> None:
    Path(f"begun-{value}").touch()
    while not all(Path(f"begun-{each}").exists() for each in "01"):
        time.sleep(0.01)
    if value == "0" and not Path("waited").exists():
        Path("waited").touch()
        time.sleep(1000)  # the pool's end comes first
    die_of_one(workspace, value=value)


def hang_once(workspace: Workspace, *, value: str) -> None:
    mark = Path(f"hung-{value}")
    workspace.progress(step=3, n_steps=9)
    if value == "1" and not mark.exists():
        mark.touch()
        time.sleep(200)
    write(workspace, value=value)


def stop_before_the_first_step(workspace: Workspace, *, value: str) -> None:
    """Be stopped before a step was noted, as by a debugger or a frozen container; work on when tried again."""
    mark = Path(f"stopped-{value}")
    if value == "1" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    write(workspace, value=value)


def step_by_step(workspace: Workspace, *, value: str) -> None:
    """Count to three, with a checkpoint at each number; stop after the first one the first time."""
    state = workspace.checkpoints.load() or {"step": 0}
    while state["step"] < 3:
        state = {"step": state["step"] + 1}
        with Path("log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{value}:{state['step']}\n")
        workspace.checkpoints.save(state["step"], state)
        if not Path("go-on").exists():
            raise InterruptedRun("stopped. Run dvc repro to continue.")
    write(workspace, value=value)


def fail(workspace: Workspace, *, value: str) -> None:
    if value == "1":
        raise DataError("rows: must be many, got none. Add some.")
    write(workspace, value=value)


def save_when_stopped(workspace: Workspace, *, save_seconds: float) -> None:
    """Go on until asked to stop; then save for as long as a checkpoint may take."""
    (workspace.unit.folder / "started").touch()
    while not (code := workspace.stop_requested()):
        time.sleep(0.05)
    (workspace.unit.folder / "saving").touch()
    time.sleep(save_seconds)
    (workspace.unit.folder / "saved").touch()
    raise InterruptedRun("stopped. Run dvc repro to continue.", code)
