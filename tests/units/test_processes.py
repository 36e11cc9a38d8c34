"""Shared memory of a group that was killed as a whole, its resource tracker too, is freed by the next run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.units.processes import NOTES, SHARED, note_shared_memory, sweep
from tests.conftest import HANG_SECONDS, ROOT

RUN = """
import time
from functools import partial
import numpy as np
from pipeline.units.backends import loky
for _ in loky.build(n_workers=2)(partial(len, np.zeros(1_000_000)) for _ in range(2)):
    pass
print("ready", flush=True)
time.sleep(1000)
"""
linux = pytest.mark.skipif(not SHARED.is_dir(), reason="there is no /dev/shm")


def left_by(pid: int) -> list[Path]:
    return [path for path in SHARED.iterdir() if f"-{pid}-" in path.name or f"_{pid}_" in path.name]


@linux
def test_F14_semaphores_of_a_killed_group_are_removed_by_the_next_run(tmp_path: Path, monkeypatch) -> None:
    """What a run whose whole group was killed has left in /dev/shm is removed when the next one starts."""
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True) as process:
        assert process.stdout.readline() == b"ready\n"
        sweep()
        assert left_by(process.pid), "while it lives nothing is touched"
        os.killpg(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + HANG_SECONDS
    while not left_by(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_by(process.pid) and list(NOTES.iterdir())
    sweep()
    assert not left_by(process.pid) and not list(NOTES.iterdir())


@linux
@pytest.mark.parametrize("changed", ["boot", "namespace", "started"])
def test_numbers_that_mean_other_processes_cost_nobody_anything(tmp_path: Path, monkeypatch, changed: str) -> None:
    monkeypatch.chdir(tmp_path)
    note_shared_memory.__wrapped__()
    [note] = NOTES.iterdir()
    mine = SHARED / f"sem.loky-{os.getpid()}-test"
    mine.touch()
    try:
        other = {"boot": "x", "namespace": "pid:[1]", "started": "1"}[changed]
        note.write_text(json.dumps({**json.loads(note.read_text()), changed: other}))
        sweep()
        assert mine.exists(), "this process is alive, whatever a stale note says of its number"
    finally:
        mine.unlink(missing_ok=True)


def test_a_damaged_note_is_left(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    NOTES.mkdir(parents=True)
    for name, text in {"1.json": "[]", "x.json": "{}", "2.json": "{"}.items():
        (NOTES / name).write_text(text)
    sweep()
    assert len(list(NOTES.iterdir())) == 3
