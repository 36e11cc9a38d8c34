"""What surrounds a bundle on a platform runs it there: Kaggle's notebook finds it, DrivenData's main.py is at the root."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from typer.testing import CliRunner

from pipeline.bundle import platforms
from pipeline.bundle.platforms import gather_wheels, write_kaggle, write_zip
from pipeline.cli import app
from pipeline.errors.exceptions import MachineError, ParamsError
from tests.conftest import Project

DESCRIPTION = {
    "competition": "tiny_one", "model": "ensemble", "reading": {"file": "test.csv"},
    "submission": {"format": ["kaggle_csv", {}], "sample": {"file": "sample_submission.csv"}},
}  # fmt: skip


def test_kaggles_notebook_finds_the_bundle_and_the_hidden_test_and_runs_without_internet(
    tmp_path: Path, monkeypatch
) -> None:
    write_kaggle(tmp_path / "made", DESCRIPTION, on_gpu=True)
    metadata = json.loads((tmp_path / "made/kernel/kernel-metadata.json").read_text(encoding="utf-8"))
    assert metadata["enable_internet"] is False and metadata["enable_gpu"] is True
    assert metadata["dataset_sources"] == ["INSERT_USERNAME_HERE/tiny-one-bundle"]
    assert metadata["competition_sources"] == ["tiny-one"] and metadata["model_sources"] == []
    dataset = json.loads((tmp_path / "made/dataset/dataset-metadata.json").read_text(encoding="utf-8"))
    assert dataset["id"] == metadata["dataset_sources"][0]
    notebook = json.loads((tmp_path / "made/kernel" / metadata["code_file"]).read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    bundle, competition = tmp_path / "input/tiny-one-bundle", tmp_path / "input/competitions/tiny-one"
    for path, text in {
        bundle / "assets/bundle.json": "{}", bundle / "test.csv": "mine", competition / "test.csv": "theirs",
        competition / "sample_submission.csv": "",
        bundle / "predict.py": "import sys; print(*sys.argv[1:], file=open('ran', 'w'))",
    }.items():  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    exec("".join(notebook["cells"][1]["source"]).replace("/kaggle/input", str(tmp_path / "input")), {})
    files = f"--input {competition / 'test.csv'} --sample {competition / 'sample_submission.csv'}"
    assert (tmp_path / "ran").read_text().strip() == f"{files} --output submission.csv --budget-minutes 500"


def test_for_drivendata_main_stands_at_the_root_of_a_zip_and_knows_where_the_data_lie(
    finished: Project, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(finished.folder)
    options = ["--model", "tfidf", "--for", "drivendata", "--check-rows", "0", "--output", str(tmp_path / "sent")]
    done = CliRunner().invoke(app, ["bundle", *options])
    assert done.exit_code == 0 and "sent.zip: tfidf" in done.output, done.output
    with zipfile.ZipFile(tmp_path / "sent.zip") as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "there")
    assert {name.partition("/")[0] for name in names} == {
        "README.md", "main.py", "assets", "manifest.json", "requirements.txt"
    }  # fmt: skip
    (tmp_path / "there/data").symlink_to(finished.folder / "data/tiny")
    ran = subprocess.run([sys.executable, "-I", "main.py"], cwd=tmp_path / "there", capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = pd.read_csv(tmp_path / "there/submission.csv", dtype=str)
    assert len(found) == 30 and found["label"].nunique() > 1
    assert "torch" not in (tmp_path / "sent/requirements.txt").read_text(encoding="utf-8") or "tfidf 1" in ran.stderr


def test_a_full_disk_leaves_no_half_of_a_zip(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/a").write_text("a")

    def full(*_, **__) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(platforms.os, "replace", full)
    with pytest.raises(MachineError, match="bundle.zip: cannot be written"):
        write_zip(tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_wheels_are_asked_for_by_python_and_without_torch(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "requirements.txt").write_text("numpy==2.0\ntorch==2.13.0\n", encoding="utf-8")
    asked: list[list[str]] = []

    def run(command: list[str], **_) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=len(asked) - 1, stderr="no network")

    monkeypatch.setattr(platforms.subprocess, "run", run)
    assert gather_wheels(tmp_path, "cp312") == []
    assert asked[0][-1] == "numpy==2.0" and "torch==2.13.0" not in asked[0]
    assert asked[0][asked[0].index("--python-version") + 1] == "3.12"
    with pytest.raises(MachineError, match="no network. The bundle itself is whole"):
        gather_wheels(tmp_path, "cp312")
    with pytest.raises(ParamsError, match="--wheels: must be a Python such as cp312, got '3.12'"):
        gather_wheels(tmp_path, "3.12")
