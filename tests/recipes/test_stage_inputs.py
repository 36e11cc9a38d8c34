"""What a stage reads is noted and compared: an edit while it runs never makes its old result pass as new."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from pipeline import stage_run
from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import LAST_ERROR, inputs_path
from pipeline.checks.verify import check_inputs
from pipeline.recipes import stage_inputs
from pipeline.recipes.stage_inputs import DVC_FILE, declared_by, noted_inputs, refuse_edited_code
from tests.conftest import ROOT, Project, make_competition

TRAIN = Path("data/tiny/train.csv")
FOLDS_RECIPE = Path("out/recipes/stages/split.json")


@pytest.fixture
def competition(tmp_path, monkeypatch) -> None:
    """A competition in this folder, the graph, and what stands above a stage when DVC runs it."""
    monkeypatch.chdir(tmp_path)
    make_competition(tmp_path)
    shutil.copyfile(ROOT / DVC_FILE, DVC_FILE)
    for name in ("prepare", "split", "stitch"):
        write_json(Path(f"out/recipes/stages/{name}.json"), {"code": {}})
    Path("models").mkdir()
    Path("models/words.txt").write_text("good", encoding="utf-8")
    monkeypatch.setattr(stage_run, "refuse_orphan", lambda: None)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_params(old: str, new: str) -> Callable[[], None]:
    return lambda: replace(Path("params.yaml"), old, new)


def run(stage: str, monkeypatch: pytest.MonkeyPatch, during: Callable[[], object]) -> str:
    """Run a stage whose work is what happens meanwhile, and return its error, "" if there is none."""
    monkeypatch.setenv("DVC_STAGE", stage)
    try:
        with stage_run.stage_run():
            during()
    except SystemExit:
        error = json.loads(LAST_ERROR.read_text(encoding="utf-8"))
        assert not inputs_path(stage).exists(), "nothing may say that it was well"
        return f"{error['code']} {error['message']}"
    return ""


@pytest.mark.parametrize(
    ("stage", "during", "said"),
    [
        ("stitch", edit_params("epochs: 1", "epochs: 5"), "params.yaml training.epochs: 1 → 5"),
        ("baseline", edit_params("tfidf_logistic", "{name: tfidf_logistic, C: 2}"), "params.yaml baselines.tfidf"),
        ("augment", edit_params("augment: {}", "augment: {steps: []}"), "params.yaml augment.steps: absent → []"),
        ("split", edit_params("seed: 7", "seed: 8"), "params.yaml seed: 7 → 8"),
        ("finetune@bert", edit_params("max_length: 24", "max_length: 30"), "params.yaml encoders.bert.max_length: 24 → 30"),
        ("prepare", lambda: replace(TRAIN, ",", ", "), "data/tiny/train.csv has another content"),
        ("prepare", TRAIN.unlink, "data/tiny/train.csv is gone"),
        ("split", lambda: write_json(FOLDS_RECIPE, {"code": {"a": "b"}}), "out/recipes/stages/split.json has another"),
        ("recipes", lambda: Path("models/words.txt").write_text("other"), "models/words.txt was written"),
    ],
)  # fmt: skip
def test_D23_an_edit_while_a_stage_runs_fails_it_before_dvc_records(
    competition: None, monkeypatch: pytest.MonkeyPatch, stage: str, during: Callable[[], object], said: str
) -> None:
    """Params, data, recipes or weights edited while a stage runs end it with E312: DVC would record them with its result."""
    error = run(stage, monkeypatch, during)
    assert error.startswith(f"E312 stage {stage}: ") and said in error and "Run dvc repro" in error


@pytest.mark.parametrize(
    "during",
    [
        edit_params("n_bootstrap: 50", "n_bootstrap: 60"), edit_params("device: cpu", "device: auto"),
        edit_params("seed: 7", "seed:   7 # lucky"), TRAIN.touch, Path("data/tiny/.~lock.train.csv#").touch,
        Path("data/tiny/notes.txt").touch, lambda: replace(TRAIN, "", ""),
    ],
    ids=["another stage's params", "run", "a comment", "touched", "opened in an office", "a new file", "saved as it was"],
)  # fmt: skip
def test_D23_what_a_stage_does_not_read_may_be_edited_while_it_runs(
    competition: None, monkeypatch: pytest.MonkeyPatch, during: Callable[[], object]
) -> None:
    """The next run's settings, notes beside the data, or a file saved as it was disturb nobody; what was read is noted."""
    assert run("prepare", monkeypatch, during) == ""
    noted = noted_inputs("prepare")
    assert noted is not None and noted.params["tasks.intent.metric"] == '"accuracy"' and str(TRAIN) in noted.files


def test_D23_verify_compares_what_was_read_with_what_dvc_recorded(
    competition: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit in the instant between a stage's end and DVC's hashing passes DVC; `verify` knows from the stage's note."""
    assert run("stitch", monkeypatch, lambda: None) == ""
    assert [checked.problem for checked in check_inputs(["stitch"])] == [None]
    replace(Path("params.yaml"), "epochs: 1", "epochs: 5")
    [checked] = check_inputs(["stitch"])
    assert (
        "params.yaml training.epochs: 1 → 5" in checked.text
        and "dvc repro --force --single-item stitch" in checked.text
    )


def test_D23_code_edited_after_the_recipes_were_made_gives_no_unit(
    competition: None, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit's key names the code that recipes read: code edited since is refused before it begins and before it is kept."""
    code = tmp_path / "stages" / "of_test.py"
    code.parent.mkdir()
    code.write_text('"""Text."""\nx = 1\n', encoding="utf-8")
    monkeypatch.setattr(stage_inputs, "ROOT", tmp_path)
    monkeypatch.setitem(sys.modules, "stages.of_test", type(sys)("stages.of_test"))
    monkeypatch.setattr(sys.modules["stages.of_test"], "__file__", str(code), raising=False)
    assert run("recipes", monkeypatch, lambda: None) == ""
    replace(code, "Text", "Words")
    refuse_edited_code()
    replace(code, "x = 1", "x = 2")
    with pytest.raises(stage_inputs.DataError, match=r"stages/of_test\.py: .* got other code\. .* Run dvc repro"):
        refuse_edited_code()
    monkeypatch.delenv("DVC_STAGE")
    refuse_edited_code()  # by hand a recipe is made anew


def test_stages_are_read_from_dvc_yaml_as_dvc_reads_them(finished: Project, monkeypatch) -> None:
    monkeypatch.chdir(finished.folder)
    for stage in Repo(".").index.stages:
        declared = declared_by(stage.addressing)
        assert declared is not None
        inputs = declared.read()
        keys = [key for dep in stage.deps if isinstance(dep, ParamsDependency) for key in dep.params]
        assert {key for key in keys if not any(f"{read}.".startswith(f"{key}.") for read in inputs.params)} == set()
        assert all(any(f"{read}.".startswith(f"{key}.") for key in keys) for read in inputs.params)
        paths = {dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)} - {"models"}
        assert {path for path in paths if not any(Path(file).is_relative_to(path) for file in inputs.files)} == set()
        assert all(any(Path(file).is_relative_to(path) for path in paths) for file in inputs.files)
        assert noted_inputs(stage.addressing) == inputs
