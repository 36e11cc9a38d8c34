"""Through all stages: a task that is only learned from, beside one with two test files that number their rows alike."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import METRICS, REPORT_PAGE, SCORES, SUBMIT, predictions_path
from pipeline.artifacts.predictions import read_predictions
from pipeline.artifacts.submissions import read_submissions
from pipeline.artifacts.table import read_table
from pipeline.bundle.bundle import bundle
from pipeline.bundle.sources import sample_of
from pipeline.checks.verify import check_leaks, check_submission
from pipeline.cli import app
from pipeline.data.demo import generate
from pipeline.params.loading import load_params
from pipeline.units.store import stored_units
from tests.conftest import PARAMS, Project, make_competition

ONE_FILE = "test: data/tiny/test.csv"
FILES = "test: {a: data/tiny/test.csv, b: data/tiny/b/test.csv}"
SAMPLE = "sample: data/tiny/sample_submission.csv"
SAMPLES = "sample: {a: data/tiny/sample_submission.csv, b: data/tiny/b/sample_submission.csv}"
AUXILIARY = """\
  mood:
    kind: multiclass
    metric: log_loss
    train: data/tiny/mood.csv
    submit: false
    columns: {id: id, text: synthetic_text, label: label}
folds:"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished competition; before its last run it had a single test file, `first_keys.json` has what was trained then."""
    folder = tmp_path_factory.mktemp("auxiliary")
    params = PARAMS[: PARAMS.index("  electra:")] + PARAMS[PARAMS.index("stitch:") :]
    params = params.replace("\nfolds:", f"\n{AUXILIARY}").replace("max_length: 24", "max_length: 24\n    sharing: hard")
    make_competition(folder, params)
    generate(folder / "data/tiny/b", seed=5, n_train=100, n_test=20)
    lines = (folder / "data/tiny/b/train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "data/tiny/mood.csv").write_text("".join(lines[:61]), encoding="utf-8")
    for name in ("models", "boards"):
        (folder / name).mkdir()
    project = Project(folder)
    with pytest.MonkeyPatch.context() as patch:
        project.run_stages(patch, "recipes", "prepare", "split", "augment", "finetune bert")
        Path("first_keys.json").write_text(json.dumps(sorted(trained(folder))))
        Path("params.yaml").write_text(params.replace(ONE_FILE, FILES).replace(SAMPLE, SAMPLES))
        stages = ("recipes", "prepare", "split", "augment", "baseline", "finetune bert", "stitch", "stack", "submit")
        project.run_stages(patch, *stages, "report")
    return folder


@pytest.fixture
def folder(whole: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(whole)
    return whole


def trained(folder: Path) -> set[str]:
    """Return the keys of the units that trained a model."""
    units = stored_units(folder / ".stitchfold" / "units")
    return {unit.folder.name for unit in units if unit.name.startswith("bert/") and not unit.name.endswith("/predict")}


def test_a_second_test_file_trains_nothing(folder: Path) -> None:
    first = json.loads(Path("first_keys.json").read_text())
    assert len(first) == 2 and sorted(trained(folder)) == first


def test_each_test_file_has_its_own_submission_of_its_own_rows(folder: Path) -> None:
    for file, n_rows in (("a", 30), ("b", 20)):
        path, sample = SUBMIT / file / "submission.csv", Path("data/tiny", "b" * (file == "b"), "sample_submission.csv")
        lines, wanted = (one.read_text().splitlines() for one in (path, sample))
        assert [line.split(",")[0] for line in lines] == [line.split(",")[0] for line in wanted]
        record = read_submissions()[file]
        assert record["path"] == path.as_posix() and set(record["tasks"]) == {"intent"}
        assert record["tasks"]["intent"]["rows"] == sum(record["tasks"]["intent"]["labels"].values()) == n_rows
    tests = read_table().test_files("intent")
    assert set(tests["b"]["id_in_file"]) < set(tests["a"]["id_in_file"])  # the ids recur, the rows do not
    assert not set(tests["b"]["row_id"]) & set(tests["a"]["row_id"])


def test_an_auxiliary_task_is_learned_from_and_scored_and_counts_for_nothing(folder: Path) -> None:
    scores, metrics = read_json(SCORES)["tasks"], read_json(METRICS)
    assert metrics["estimate"] == metrics["tasks"]["intent"]["estimate"]
    assert (metrics["low"], metrics["high"]) == pytest.approx(
        [metrics["tasks"]["intent"][end] for end in ("low", "high")]
    )
    assert metrics["tasks"]["mood"]["auxiliary"] and "auxiliary" not in metrics["tasks"]["intent"]
    assert metrics["tasks"]["mood"]["out_of_fold"] > 0 and metrics["tasks"]["mood"]["low"] is None
    assert {model["name"] for model in scores["mood"]["models"]} >= {"bert", "tfidf"} and not scores["mood"]["n_test"]
    rows = read_predictions(predictions_path("finetune", "bert", "mood"), manifest=None).rows
    assert len(rows) == 60 and set(rows["split"]) == {"oof"}


def test_the_interval_is_as_wide_as_the_smallest_file_asks_for(folder: Path) -> None:
    scores = read_json(SCORES)["tasks"]["intent"]
    assert (scores["n_test"], scores["n_scored"]) == (50, 20)


def test_the_page_shows_all_submissions_and_names_what_is_auxiliary(folder: Path) -> None:
    page = REPORT_PAGE.read_text(encoding="utf-8")
    assert all(f"out/submit/{file}/submission.csv" in page for file in "ab")
    assert "mood (auxiliary: not submitted)" in page and "intent (auxiliary" not in page
    assert "50 rows of all test files, of which a board scores 20 or more" in page
    assert page.count("Expected on the test set") == 1


def test_commands_know_all_submissions(folder: Path) -> None:
    shown = CliRunner().invoke(app, ["show"]).output
    assert "mood (auxiliary): log_loss" in shown and "mean over tasks" not in shown
    assert shown.count("expected on the test rows, where") == 1
    assert all(f"submission  out/submit/{file}/submission.csv" in shown for file in "ab")
    checked = CliRunner().invoke(app, ["validate"])
    assert checked.output.splitlines() == [f"out/submit/{file}/submission.csv: accepted" for file in "ab"]
    assert [result.problem for result in (*check_submission(), *check_leaks())] == [None] * 3


def test_a_damaged_submission_of_any_file_is_found(folder: Path) -> None:
    path = SUBMIT / "b" / "submission.csv"
    content = path.read_bytes()
    path.write_bytes(content[:-3] + b"?\r\n")
    [result] = check_submission()
    path.write_bytes(content)
    assert result.problem is not None and "out/submit/b/submission.csv" in result.problem


def test_the_board_is_told_of_which_test_file_a_score_is(folder: Path) -> None:
    asked = CliRunner().invoke(app, ["board", "--score", "0.5"])
    assert asked.exit_code == 2 and "got None, expected one of ['a', 'b']" in asked.output
    told = CliRunner().invoke(app, ["board", "--test", "b", "--score", "0.5"]).output
    assert ", b" in told and "0.5000" in told
    Path("boards/tiny.csv").unlink()


def test_names_that_changed_since_are_refused(folder: Path) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("b: data", "c: data"))
    refused = CliRunner().invoke(app, ["validate"])
    Path("params.yaml").write_text(text)
    assert refused.exit_code == 3 and "['a', 'c'], got ['a', 'b']." in refused.output


def test_an_auxiliary_task_can_be_bundled_and_a_bundle_knows_the_first_of_several_samples(
    folder: Path, tmp_path: Path
) -> None:
    made = bundle(load_params(), model="tfidf", task="mood", folder=tmp_path / "bundle", check_rows=0)
    assert made.description["reading"]["file"] == "mood.csv" and made.description["submission"]["sample"] is None
    known = sample_of(load_params(), read_table(), "intent")
    assert known is not None and (known["file"], known["id_place"]) == ("sample_submission.csv", 0)
