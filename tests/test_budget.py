"""A run cut short by its time budget, through all stages: a valid submission, what is missing is said, the next goes on."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.artifacts.files import read_json
from pipeline.artifacts.left_out import read_left_out
from pipeline.artifacts.paths import FIRST_SUBMISSION, METRICS, REPORT_PAGE, predictions_path
from pipeline.checks.verify import check_leaks, check_recipes
from pipeline.cli import app
from pipeline.params.loading import load_params
from pipeline.submit.submitting import validate_submission
from pipeline.units.store import stored_units
from tests.conftest import Project

STAGES = ("recipes", "baseline", "finetune bert", "finetune electra", "stitch", "stack", "submit", "report")


@pytest.fixture(scope="module")
def cut_short(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny competition: one encoder's models lie in the store, for the other one and their pair there is no time."""
    project = finished.clone(tmp_path_factory.mktemp("budget") / "project")
    project.edit("params.yaml", "device: cpu}", "device: cpu, budget_hours: 1e-6}")
    for unit in stored_units(project.folder / ".stitchfold" / "units"):
        if "electra" in unit.name:
            shutil.rmtree(unit.folder)
    for stage in ("finetune", "stitch"):  # DVC removes outs before a stage
        shutil.rmtree(project.folder / "out" / stage)
    with pytest.MonkeyPatch.context() as patch:
        project.run_stages(patch, *STAGES)
    return project


@pytest.fixture
def project(cut_short: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(cut_short.folder)
    return cut_short


def test_what_lies_in_the_store_is_taken_and_the_rest_left_out(project: Project) -> None:
    assert [(note["model"], note["kept"]) for note in read_left_out(["bert", "electra"])] == [
        ("electra", "2 units were not begun")
    ]
    assert predictions_path("finetune", "bert", "intent").exists()
    assert [path.name for path in Path("out/finetune/electra").iterdir() if path.suffix != ".sha256"] == [
        "left_out.json"
    ]
    assert not list(Path("out/stitch").iterdir())


def test_submissions_are_valid_and_no_check_cries_wolf(project: Project) -> None:
    params = load_params()
    validate_submission(params)
    first = read_json(FIRST_SUBMISSION / "submission.json")
    assert first["model"] == "tfidf" and Path(first["path"]).exists()
    assert [checked.problem for checked in (*check_leaks(), *check_recipes()) if checked.problem] == []


def test_scores_metrics_report_and_terminal_say_what_is_missing(project: Project) -> None:
    text = "electra, and what is stitched from it, was left out (2 units were not begun)"
    assert read_json(METRICS)["left_out"] == 1
    assert text in REPORT_PAGE.read_text(encoding="utf-8")
    shown = CliRunner().invoke(app, ["show"]).stdout
    assert text in shown and "bert" in shown


def test_a_model_that_is_to_be_submitted_and_was_left_out_is_an_error(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.edit("params.yaml", "submit: {}", "submit: {model: electra}")
    with pytest.raises(SystemExit, match="3"):
        project.run_stages(monkeypatch, "submit")
    project.edit("params.yaml", "submit: {model: electra}", "submit: {}")
    said = capsys.readouterr().err
    assert "must be a model that was made, got 'electra'" in said and "set submit.model: ensemble" in said


def test_without_the_budget_a_later_run_ends_in_the_bytes_of_one_that_never_had_any(
    finished: Project, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.edit("params.yaml", ", budget_hours: 1e-6", "")
    project.run_stages(monkeypatch, *STAGES)
    assert project.submission() == finished.submission()
    for recipe in Path("out/recipes").rglob("*.json"):
        assert recipe.read_bytes() == (finished.folder / recipe).read_bytes()
    assert not read_left_out(["bert", "electra"])
