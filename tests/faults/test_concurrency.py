"""Two runs of one project, with real `dvc repro`: one result, and the right one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import HANG_SECONDS, ROOT, Project
from tests.faults import concurrency

WAITS = """
import sys
import time
from pathlib import Path
from pipeline.stage_run import exit_on_error
with exit_on_error():
    Path("started").touch()
    time.sleep(float(sys.argv[1]))
"""

AS_STAGE = """
from pathlib import Path
from pipeline.stage_run import stage_run
with stage_run() as params:
    Path("started").touch()
"""


@pytest.mark.slow
def test_F4_I6_two_runs_at_once_make_one_result(finished: Project, tmp_path: Path) -> None:
    """Of two `dvc repro` at once one makes the result; the other is refused by dvc's lock, or comes when all is done."""
    assert not concurrency.at_once(finished, tmp_path / "project").lost


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])
def test_F3_F4_I6_I7_a_run_after_the_first_ones_dvc_was_killed_makes_one_result(
    finished: Project, tmp_path: Path, shell: str
) -> None:
    """The stage of a killed `dvc` stops; a second `dvc repro` waits for its unit, goes on from there, and is right."""
    assert not concurrency.after_a_kill(finished, tmp_path / "project", SHELL=shell).lost


@pytest.mark.slow
def test_F5_two_stages_run_side_by_side(finished: Project, tmp_path: Path) -> None:
    """`dvc repro -s` of two encoders at once both succeed when what they are made from is up to date."""
    assert not concurrency.side_by_side(finished, tmp_path / "project").lost


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])
def test_F3_I7_a_stage_without_units_ends_with_its_dvc(tmp_path: Path, shell: str) -> None:
    """Also a stage that has no units, and nothing to save, ends within seconds when its `dvc` was killed."""
    (tmp_path / "stage.py").write_text(WAITS, encoding="utf-8")
    launch = f"import subprocess\nsubprocess.run(['{shell}', '-c', '{sys.executable} stage.py {2 * HANG_SECONDS}'])\n"
    (tmp_path / "dvc").write_text(launch, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # The stage inherits the pipe, which so ends with the last of the processes.
    dvc = subprocess.Popen([sys.executable, "dvc"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    while not (tmp_path / "started").exists():
        assert dvc.poll() is None, "the stage ended before it was told to"
        time.sleep(0.05)
    dvc.kill()
    dvc.communicate(timeout=HANG_SECONDS)


def test_F3_I7_an_orphan_of_the_first_second_begins_nothing(tmp_path: Path) -> None:
    """A stage whose `dvc` was killed while it still started stops with 143 and touches no file: another run may be on."""
    (tmp_path / "stage.py").write_text(AS_STAGE, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "prepare"}
    done = subprocess.run([sys.executable, "stage.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 143 and "stage prepare" in done.stderr and "unset DVC_STAGE" in done.stderr
    assert not (tmp_path / "started").exists()


def test_F3_I7_a_dvc_that_goes_by_another_name_is_known_by_its_note(tmp_path: Path) -> None:
    """A program that runs DVC itself is the one above its stages: DVC's rwlock names it."""
    (tmp_path / "stage.py").write_text(AS_STAGE, encoding="utf-8")
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    note = {"write": {str(tmp_path / "out"): {"pid": os.getpid(), "cmd": "notebook.py"}}}
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(note), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "prepare", "DVC_ROOT": str(tmp_path)}
    assert subprocess.run([sys.executable, "stage.py"], cwd=tmp_path, env=environment).returncode == 2
    error = json.loads((tmp_path / "out" / "last_error.json").read_text(encoding="utf-8"))
    assert error["message"].startswith("params.yaml: no such file"), "it went on to its work"
