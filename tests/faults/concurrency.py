"""Two `dvc repro` in one project: at once, and one after the first one's `dvc` was killed while its stage goes on."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.conftest import HANG_SECONDS, Project
from tests.faults.kills import Trial

REFUSED = re.compile("Unable to acquire lock|is busy, it is being blocked by")


def begin(project: Project, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start `dvc repro` in a project and return its process; what it prints goes into a file."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "PYTHONPATH": str(project.folder), **environment}
    with (project.folder / f"log-{time.monotonic_ns()}.txt").open("w") as log:
        return subprocess.Popen(
            ["dvc", "repro", *arguments], cwd=project.folder, env=variables, stdout=log, stderr=log, text=True
        )


def reopened(finished: Project, folder: Path, *stages: str) -> Project:
    """Return a copy of a finished project in which no unit is computed and dvc knows nothing of some stages."""
    project = finished.clone(folder)
    for removed in (".stitchfold", ".dvc/cache/runs", *(f"out/{stage.replace('@', '/')}" for stage in stages)):
        shutil.rmtree(folder / removed)
    project.forget(*stages)
    return project


def at_once(finished: Project, folder: Path) -> Trial:
    """Start two runs of one project together: one makes the result, the other waits or is refused."""
    begun = time.monotonic()
    project = reopened(finished, folder, "finetune@bert")
    codes = sorted(process.wait(HANG_SECONDS) for process in [begin(project), begin(project)])
    lost = []
    if codes[0] != 0:
        lost.append(f"one of two runs must succeed, got exit codes {codes}")
    if codes[1] != 0 and not REFUSED.search(said(project)):
        lost.append(f"the other must be refused for the lock, got {said(project)[-2000:]}")
    return Trial(("at once",), (*lost, *wrong(project, finished)), time.monotonic() - begun)


def after_a_kill(finished: Project, folder: Path, **environment: str) -> Trial:
    """Kill the `dvc` of a run while a fold is trained, and start another run while that training goes on."""
    begun = time.monotonic()
    project = reopened(finished, folder, "finetune@bert")
    first = begin(project, **environment)
    orphans = wait_for_training(project, first)
    first.kill()
    first.wait()
    alive = [process for process in orphans if process.is_running()]
    second = begin(project, **environment)
    code = second.wait(HANG_SECONDS)
    lost = [] if alive else ["the killed run had no stage at work"]
    if code:
        lost.append(f"the second run must succeed, got exit code {code}: {said(project)[-2000:]}")
    _, left = psutil.wait_procs(orphans, timeout=HANG_SECONDS)
    lost += [f"process {process.pid} of the killed run still lives" for process in left]
    for process in left:
        process.send_signal(signal.SIGKILL)
    return Trial(("after a kill",), (*lost, *wrong(project, finished)), time.monotonic() - begun)


def side_by_side(finished: Project, folder: Path) -> Trial:
    """Run two different stages at once, each by its own `dvc repro`: both succeed."""
    begun = time.monotonic()
    encoders = ("finetune@bert", "finetune@electra")
    project = reopened(finished, folder, *encoders)
    runs = [begin(project, "--single-item", stage) for stage in encoders]
    codes = [process.wait(HANG_SECONDS) for process in runs]
    lost = [] if codes == [0, 0] else [f"both runs must succeed, got exit codes {codes}: {said(project)[-2000:]}"]
    project.repro()
    return Trial(("side by side",), (*lost, *wrong(project, finished)), time.monotonic() - begun)


def wait_for_training(project: Project, dvc: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Wait until a fold of an encoder has a checkpoint, and return the processes below `dvc`."""
    end = time.monotonic() + HANG_SECONDS
    while time.monotonic() < end:
        if list(project.folder.glob(".stitchfold/units/*/checkpoints/step-*")):
            return psutil.Process(dvc.pid).children(recursive=True)
        time.sleep(0.02)
    raise TimeoutError(f"{project.folder}: no fold was trained: {said(project)[-2000:]}")


def said(project: Project) -> str:
    """Return what all runs of a project printed."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(project.folder.glob("log-*.txt")))


def wrong(project: Project, finished: Project) -> list[str]:
    """Return what is wrong with the result of a project."""
    problems = []
    if stages := project.repro():
        problems.append(f"everything must be done, got {stages} run again")
    if project.submission() != finished.submission():
        problems.append("the submission differs")
    return problems
