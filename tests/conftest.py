"""Fixtures of all tests: seeds, small texts, and a small competition that runs through the real graph."""

import importlib
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
HANG_SECONDS = 1200  # time limits catch hangs and nothing else: far longer than anything takes on a slow, busy machine
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

PARAMS = """\
competition: tiny
seed: 7
tasks:
  intent:
    kind: multiclass
    metric: accuracy
    train: data/tiny/train.csv
    test: data/tiny/test.csv
    columns: {id: id, text: synthetic_text, label: label}
    submission: {format: kaggle_csv, sample: data/tiny/sample_submission.csv}
folds: {n_splits: 2, near_duplicate_similarity: 0.85}
training: {epochs: 1, batch_size: 16, learning_rate: 1e-3, checkpoint_seconds: 0.001}
encoders:
  bert:
    source: {name: from_config, architecture: bert, vocab_size: 300, hidden_size: 16, n_layers: 1, n_heads: 2}
    max_length: 24
  electra:
    source: {name: from_config, architecture: electra, vocab_size: 300, hidden_size: 16, n_layers: 1, n_heads: 2}
    max_length: 24
    head: {name: text_cnn, n_filters: 8}
stitch: {heads: {cnn: {name: text_cnn, n_filters: 4}}, base: finetuned}
baselines: {tfidf: tfidf_logistic}
stack: {ladder: [mean, logistic], n_bootstrap: 50}
submit: {}
augment: {}
run: {backend: sequential, device: cpu}
"""


CANARIES = {"HF_TOKEN": "hf_canaryOfTheHub0123456789", "KAGGLE_KEY": "canaryOfKaggle0123456789abcdef"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that run graphs: what takes a minute must not come last, when other workers have no more to do.

    The longest makes `finished`, for which another worker would wait: so next come those that run graphs of their own.
    """
    needed = {item.path: set[str]() for item in items}
    for item in items:
        needed[item.path] |= {*getattr(item, "fixturenames", ()), *vars(getattr(item, "module", item))}

    def place(item: pytest.Item) -> int:
        if item.path.stem == "test_graph":
            return 0
        names = needed[item.path]
        return 1 if names & {"harness", "reference"} else 2 if "finished" in names else 3

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)


@dataclass(frozen=True)
class Project:
    """A copy of the repository's code with a tiny competition, in which `dvc repro` is run for real."""

    folder: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; its output is kept."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        variables = {**os.environ, "PATH": path, "PYTHONPATH": str(self.folder), **environment}
        return subprocess.run(
            command, cwd=self.folder, env=variables, capture_output=True, text=True, timeout=HANG_SECONDS
        )

    def repro(self, *arguments: str, **environment: str) -> list[str]:
        """Run `dvc repro` and return the stages that were executed (not those restored from a cache)."""
        done = self.run("dvc", "repro", *arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]

    def run_stages(self, patch: pytest.MonkeyPatch, *stages: str) -> None:
        """Run stages by themselves, such as `finetune bert`, in this process, which spares their starts."""
        patch.chdir(self.folder)
        for stage in stages:
            name, *arguments = stage.split()
            patch.setattr(sys, "argv", [name, *arguments])
            importlib.import_module(f"stages.{name}").main()

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that must stand in a file."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def forget(self, *stages: str) -> None:
        """Take stages out of `dvc.lock`: dvc knows nothing of them any more."""
        yaml, path = YAML(), self.folder / "dvc.lock"
        lock = yaml.load(path)
        for stage in stages:
            del lock["stages"][stage]
        yaml.dump(lock, path)

    def submission(self) -> bytes:
        """Return the bytes of the submission."""
        return (self.folder / "out" / "submit" / "submission.csv").read_bytes()

    def clone(self, folder: Path) -> "Project":
        """Return a copy, with everything that was computed."""
        shutil.copytree(self.folder, folder)
        return Project(folder)


def make_competition(folder: Path, params: str = PARAMS) -> None:
    """Lay out a generated competition of 100 rows in a folder."""
    from pipeline.data.demo import generate

    (folder / "params.yaml").write_text(params, encoding="utf-8")
    generate(folder / "data" / "tiny", seed=3, n_train=100, n_test=30)


def make_project(folder: Path) -> Project:
    """Lay out the repository's code and a generated competition of 100 rows in a folder."""
    for name in ("pipeline", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("models", "boards"):
        (folder / name).mkdir()
        (folder / name / "README.md").touch()
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copyfile(ROOT / name, folder / name)
    make_competition(folder)
    project = Project(folder)
    assert project.run("dvc", "init", "--no-scm", "-q").returncode == 0
    config = (ROOT / ".dvc" / "config").read_text(encoding="utf-8").replace("[core]", "[core]\n    no_scm = true")
    (folder / ".dvc" / "config").write_text(config.replace("autostage = true", ""), encoding="utf-8")
    return project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny competition that went through all stages; not to be changed: tests that edit take a `clone`."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with FileLock(f"{shared}.lock"):  # the workers of pytest make it once
        if not (shared / "whole").exists():
            stages = make_project(shared / "project").repro(STITCHFOLD_AUDIT="1", **CANARIES)
            assert "finetune@bert" in stages and "report" in stages
            (shared / "whole").touch()
    return Project(shared / "project")
