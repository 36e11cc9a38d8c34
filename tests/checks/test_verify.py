"""That verify names every file that is not what some digest says, and what is older than its inputs."""

import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest
from dvc.repo import Repo
from typer.testing import CliRunner

from pipeline import cli
from pipeline.artifacts.files import sha256_of
from pipeline.artifacts.frames import write_frame
from pipeline.artifacts.paths import FOLDS, OUT
from pipeline.checks import verify
from pipeline.checks.doctor import examine
from pipeline.checks.dvc_state import Md5
from tests.conftest import Project


@pytest.fixture(scope="module")
def edited(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """Exit code and output of verify over a project that was tampered with in many ways, which cost DVC's start once."""
    project = finished.clone(tmp_path_factory.mktemp("verify") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        assert "digests match" in CliRunner().invoke(cli.app, ["verify"]).output
        project.edit("params.yaml", "n_bootstrap: 50", "n_bootstrap: 60")
        Path("out/split/folds.parquet.sha256").unlink()
        Path("out/prepare/new.txt").touch()
        for path, content in {
            "out/plots/scores.csv": b"model,score\n",
            "out/augment/augment.json": b"{}",
            "out/stitch/bert+electra+cnn/models/intent-r0-f1/stitch.json": b"{}",
            "out/submit/submission.csv": b"id,label\n",
            "out/submit/submission.csv.sha256": hashlib.sha256(b"id,label\n").hexdigest().encode(),
        }.items():
            Path(path).unlink()
            Path(path).write_bytes(content)
        listing = next(Path(".dvc/cache").rglob("*.dir"))
        listing.chmod(0o644)
        listing.write_bytes(listing.read_bytes() + b" ")
        unit = next(Path(".stitchfold/units").glob("*/result/history.json"))
        unit.unlink()
        paths = {finding.path for finding in examine()}
        named = ("out/plots/scores.csv", "out/augment/augment.json", listing, unit.parent)
        assert {Path(path) for path in named} <= paths, "what verify sends to doctor, doctor finds"
        done = CliRunner().invoke(cli.app, ["verify"])
        shutil.rmtree(project.folder)
        return done.exit_code, done.output.replace(str(listing), "LISTING").replace(str(unit.parent), "RESULT")


@pytest.mark.parametrize(
    "line",
    [
        "out/split/folds.parquet.sha256: is in dvc.lock and not on disk. Run dvc repro.",
        "out/prepare/new.txt: is not what dvc.lock or DVC's cache know. Run dvc repro.",
        "out/plots/scores.csv: has another md5 than in dvc.lock (damaged, or edited). ",
        "out/augment/augment.json: does not match its .sha256. Run stitchfold doctor --fix, then dvc repro.",
        "out/stitch/bert+electra+cnn/models/intent-r0-f1: does not match its manifest. ",
        "out/submit/submission.csv: has another md5 than in dvc.lock (damaged, or edited). ",
        "out/submit/submission.json: the submission is refused: ",
        "LISTING: is damaged, and DVC trusts its cache. ",
        "RESULT: (",
        "recipes: is older than its inputs (params.yaml stack). Run dvc repro.",
    ],
)
def test_F10_verify_names_every_file_that_is_not_what_its_digest_says(edited: tuple[int, str], line: str) -> None:
    """`verify` computes every digest anew, as the exit code of `dvc repro` is no proof, and names what differs, with E402."""
    code, output = edited
    assert code == 4 and "E402" in output
    assert line in output


def test_tables_of_other_folds_are_named(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_frame(FOLDS, pd.DataFrame({"row_id": ["1"]}), {})
    today = sha256_of(FOLDS)
    for name, manifest in {"same": today, "other": "0" * 64}.items():
        write_frame(OUT / "finetune" / name / "t.parquet", pd.DataFrame({"x": [1]}), {"manifest": manifest})
    wrong = [checked for checked in verify.check_manifests() if checked.problem]
    assert [(checked.path.parent.name, checked.text) for checked in wrong] == [
        ("other", "was made from other folds (000000000000…). Run dvc repro.")
    ]


def test_a_dvcignore_in_the_data_is_told_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").touch()
    with Repo.init(no_scm=True) as repo:
        Path("dvc.yaml").write_text("stages: {s: {cmd: echo x > o, deps: [data], outs: [o]}}", encoding="utf-8")
        repo.reproduce()
    (tmp_path / "data" / ".dvcignore").touch()
    with Repo() as repo:
        texts = [checked.text for checked in verify.check_lock(repo, Md5()) if checked.problem]
    assert len(texts) == 1 and ".dvcignore" in texts[0] and "Move it to the project's root" in texts[0]
