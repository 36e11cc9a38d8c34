"""The same damage where DVC keeps a copy, mostly the same file under another name, and trusts it unread."""

import hashlib
import json
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from pipeline.artifacts.files import MEND
from tests.conftest import Project, make_project
from tests.faults import corruption, harness
from tests.faults.corruption import Kind
from tests.faults.kills import Trial

CACHED = Kind("object of DVC's cache", "out/split/folds.parquet", "augment")
KINDS = [*corruption.OUT_KINDS, *corruption.VERIFIED_KINDS, CACHED]
CURE = ("stitchfold doctor --fix", "dvc repro", "stitchfold verify")  # `MEND`, and the proof


def finished(folder: Path) -> Project:
    """Return the tiny competition after a real `dvc repro`."""
    project = make_project(folder)
    harness.make(folder)
    project.repro()
    return project


def damaged(finished: Project, folder: Path, kind: Kind, way: str) -> Trial:
    """Damage a copy of a finished project, have it read, do what is said, and compare the submission."""
    begun = time.monotonic()
    project = Project(harness.copy(finished.folder, folder))
    path = corruption.find(project.folder, kind)
    if kind is CACHED:
        corruption.damage(cached(project, path), way)
        shutil.rmtree(path.parent)
        project.repro()
    else:
        corruption.damage(path, way)
    lost = wrong_with_error(project, kind, way)
    for command in CURE:
        if (done := project.run(*shlex.split(command))).returncode:
            lost.append(f"{command} failed: {(done.stdout + done.stderr)[-1000:]}")
    if (done := read_once(project, kind.reader)).returncode:
        lost.append(f"after the remedy: {(done.stdout + done.stderr)[-1000:]}")
    if project.submission() != finished.submission():
        lost.append("the submission differs")
    return Trial((way,), tuple(lost), time.monotonic() - begun)


def cached(project: Project, path: Path) -> Path:
    """Return where DVC's cache keeps the content of a file."""
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    return project.folder / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]


def wrong_with_error(project: Project, kind: Kind, way: str) -> list[str]:
    """Have the damaged file read; return what is wrong with the error."""
    read = read_once(project, kind.reader)
    if kind.then == "ignored" or (kind is CACHED and way == "remove"):  # dvc made the file again
        return [f"the reader failed: {read.stderr[-1000:]}"] if read.returncode else []
    if not read.returncode:
        return ["not noticed"]
    if kind.reader == "stitchfold verify":
        return []
    error = json.loads((project.folder / "out" / "last_error.json").read_text(encoding="utf-8"))
    right = error["code"] == "E402" and MEND in error["message"]
    return [] if right else [f"must be E402 with a remedy, got {error['code']} {error['message']}"]


def read_once(project: Project, reader: str) -> "subprocess.CompletedProcess[str]":
    """Run a stage, or a command, in a project."""
    command = shlex.split(reader)
    return project.run(*(command if len(command) > 1 else ["dvc", "repro", "--force", "--single-item", reader]))
