"""What clean lists, keeps and removes: by the notes of runs, never by guesses."""

import fcntl
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pipeline import cli
from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import OUT
from pipeline.augment.generation.translation_cache import FOLDER, model_digest
from pipeline.checks import clean
from pipeline.checks.clean import judge
from pipeline.errors.exceptions import ParamsError
from pipeline.params.root import Run
from pipeline.units.execution import Workspace, run_units
from pipeline.units.stage import REQUESTS, Stage, read_requests
from pipeline.units.store import STORE, stored_units
from pipeline.units.unit import Unit

RUN = Run(backend="sequential", n_workers=1, device="cpu")
PARAMS = """\
competition: tiny
seed: 7
tasks: {intent: {train: train.csv, metric: accuracy}}
folds: {n_splits: 2}
augment: {}
training: {epochs: 1}
encoders: {bert: {learning_rate: 0.001}, electra: {learning_rate: 0.001}}
stitch: {heads: {cnn: text_cnn}}
baselines: {tfidf: tfidf_logistic}
stack: {}
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "some")
    write_params()


def write_params(old: str = "", new: str = "", path: Path = Path("params.yaml")) -> None:
    assert old in PARAMS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PARAMS.replace(old, new, 1), encoding="utf-8")


def write(workspace: Workspace, *, content: str) -> None:
    (workspace.result / "value.txt").write_text(content, encoding="utf-8")


def checkpoint_and_die(workspace: Workspace, *, content: str) -> None:
    workspace.checkpoints.save(40, {"weights": torch.zeros(2)})
    os.kill(os.getpid(), signal.SIGKILL)


def go_on(workspace: Workspace, *, content: str) -> None:
    state = workspace.checkpoints.load()
    (workspace.result / "resumed.txt").write_text(str(state is not None), encoding="utf-8")


def run_stage(stage: str | Stage, *values: str, work=write, **depends_on: str) -> list[Unit]:
    """Run units of a stage: `finetune-bert` is that of the model bert."""
    stage = stage if isinstance(stage, Stage) else Stage(*stage.split("-"))
    units = [Unit(f"{stage.name}/{value}", {"step": stage.name, "value": value, **depends_on}) for value in values]
    run_units([(unit, work, {"content": "x" * 100_000}) for unit in units], run=RUN, stage=stage)
    return units


def keys(units) -> set[str]:
    return {unit.key for unit in units}


def spare() -> set[str]:
    return {spare.folder.name for spare in judge([]).spare}


def invoke(*arguments: str):
    return CliRunner().invoke(cli.app, ["clean", *arguments])


def test_units_of_an_earlier_setting_are_listed_with_it_and_removed_only_when_asked() -> None:
    old = run_stage("finetune-bert", "a", rate="0.001")
    write_params("bert: {learning_rate: 0.001}", "bert: {learning_rate: 0.002}")
    new = run_stage("finetune-bert", "a", rate="0.002")
    listed = invoke()
    assert "1 can go, which frees 100" in listed.output
    assert "finetune-bert/a  finished  made under other params than today's params.yaml: " in listed.output
    assert "encoders.bert.learning_rate: 0.001 → 0.002" in listed.output
    assert keys(stored_units()) == keys(old + new)
    assert "1 removed, 100" in invoke("--yes").output
    assert keys(stored_units()) == keys(new) and not list(STORE.glob(".removed-*"))


@pytest.mark.parametrize(
    "note", ['{"name": 5}', '{"name": "a", "model": []}', '{"name": null}', "[]", "5", "[" * 100_000]
)
def test_a_wrongly_typed_note_of_a_unit_stops_neither_clean_nor_status(note: str) -> None:
    unit, other = run_stage("finetune-bert", "a", "b")
    (unit.folder / "unit.json").write_text(note, encoding="utf-8")
    assert invoke().exit_code == 0 and keys(stored_units()) == keys([unit, other])
    assert CliRunner().invoke(cli.app, ["status"]).exit_code == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("units", ["a"]), ("units", {"k": []}), ("stage", {"kind": []}), ("by_dvc", 5), ("more", 1), ("params", "[]")],
)
def test_a_wrongly_typed_note_of_a_run_counts_as_damaged(name: str, value, caplog) -> None:
    run_stage("finetune-bert", "a")
    [path] = REQUESTS.glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), name: value}), encoding="utf-8")
    assert read_requests() == [] and "damaged" in caplog.text
    assert invoke().exit_code == 0


def test_what_clean_removes_of_a_linked_unit_is_the_link(tmp_path: Path) -> None:
    [unit] = run_stage("finetune-bert", "a", rate="0.001")
    unit.folder.rename(tmp_path / "elsewhere")
    unit.folder.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "result.corrupt-1").mkdir()
    write_params("bert: {learning_rate: 0.001}", "bert: {learning_rate: 0.002}")
    run_stage("finetune-bert", "a", rate="0.002")
    before = sorted(path.name for path in (tmp_path / "elsewhere").rglob("*"))
    assert "1 removed" in invoke("--yes").output
    assert not unit.folder.exists() and sorted(path.name for path in (tmp_path / "elsewhere").rglob("*")) == before


def test_what_a_setting_does_not_touch_is_needed_still() -> None:
    electra, tfidf = run_stage("finetune-electra", "a"), run_stage("baseline-tfidf", "a")
    bert = run_stage("finetune-bert", "a")
    write_params("bert: {learning_rate: 0.001}", "bert: {learning_rate: 0.002}")
    verdict = judge([])
    assert keys(verdict.needed) == keys(electra + tfidf)
    assert {unit.key: why for unit, why in verdict.unsure} == {
        bert[0].key: "finetune-bert has not run under today's params.yaml"
    }
    assert not verdict.spare


@pytest.mark.parametrize(
    ("old", "new"),
    [("metric: accuracy", "metric: f1_macro"), ("seed: 7", "seed: 8"), ("train.csv", "other.csv")],
)
def test_no_unit_goes_while_its_stage_has_not_run_under_todays_params(old: str, new: str) -> None:
    run_stage("finetune-bert", "a")
    run_stage(Stage("stitch-heads", task="intent", repeat=0, fold=0), "b")
    write_params(old, new)
    assert not judge([]).spare


def test_units_of_a_model_that_was_dropped_can_go() -> None:
    dropped = run_stage("finetune-electra", "a") + run_stage("predict-electra", "b")
    write_params(", electra: {learning_rate: 0.001}", "")
    assert spare() == keys(dropped)
    assert "finetune-electra is no longer in params.yaml" in invoke().output


def test_units_of_a_fold_that_was_dropped_can_go_whatever_the_task_is_called() -> None:
    write_params("intent:", "my-intent:")
    folds = [run_stage(Stage("stitch-heads", task="my-intent", repeat=0, fold=fold), f"{fold}")[0] for fold in range(3)]
    assert {unit.key for unit in folds[:2]} <= keys(judge([]).needed)
    assert spare() == {folds[2].key}, "n_splits is 2"


def test_F19_units_left_by_params_changed_in_mid_run_are_listed_with_those_and_taken_up_again_when_set_back() -> None:
    """After a change of params a run starts fresh; `clean` lists the old work with its params; set back, it goes on."""
    child = os.fork()
    if child == 0:
        run_stage("finetune-bert", "a", rate="0.001", work=checkpoint_and_die)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    write_params("bert: {learning_rate: 0.001}", "bert: {learning_rate: 0.002}")
    verdict = "finetune-bert/a  interrupted at step 40  made under other params than today's params.yaml: "
    verdict += "encoders.bert.learning_rate: 0.001 → 0.002"
    before = invoke().output
    assert "1 units" in before and verdict in before and "finetune-bert has not run under today's params.yaml" in before
    fresh = run_stage("finetune-bert", "a", rate="0.002", work=go_on)[0]
    assert (fresh.result / "resumed.txt").read_text() == "False"
    assert "not needed" in invoke().output and verdict in invoke().output
    write_params()
    back = run_stage("finetune-bert", "a", rate="0.001", work=go_on)[0]
    assert (back.result / "resumed.txt").read_text() == "True"


def test_F20_units_of_code_that_was_edited_are_listed_as_such() -> None:
    """Code edited between kill and resume makes new units; `clean` says of the old ones that the params are the same."""
    old = run_stage("finetune-bert", "a", recipe="before")
    new = run_stage("finetune-bert", "a", recipe="after")
    assert spare() == keys(old)
    assert "finished  other code, data or machine than the last run under params.yaml" in invoke().output
    run_stage("finetune-bert", "a", recipe="before")
    assert spare() == keys(new), "the last run is the one that counts"


def test_another_competitions_file_keeps_its_units_and_a_copy_of_todays_only_what_it_ran() -> None:
    other = Path("competitions/other/params.yaml")
    write_params("competition: tiny", "competition: other", path=other)
    Path("params.yaml").write_bytes(other.read_bytes())
    theirs = run_stage("finetune-bert", "a")
    write_params()
    ours = run_stage("finetune-bert", "b")
    write_params("competition: tiny\nseed: 7", "competition: other\nseed: 9", path=other)  # never run so
    assert keys(judge([]).needed) == keys(ours) and not judge([]).spare
    write_params(
        "bert: {learning_rate: 0.001}", "bert: {learning_rate: 0.3}", path=Path("competitions/tiny/params.yaml")
    )
    assert not judge([]).spare and keys(judge([]).needed) == keys(ours)
    other.unlink()
    assert spare() == keys(theirs)
    assert "of the competition other, of which there is no params file" in invoke().output


def test_the_file_that_todays_was_copied_from_keeps_nothing_that_it_never_ran() -> None:
    write_params("seed: 7", "seed: 9", path=Path("competitions/tiny/params.yaml"))
    old = run_stage("finetune-bert", "a", rate="0.001")
    write_params("bert: {learning_rate: 0.001}", "bert: {learning_rate: 0.002}")
    run_stage("finetune-bert", "a", rate="0.002")
    assert spare() == keys(old)


def test_a_further_params_file_keeps_what_it_ran() -> None:
    old = run_stage("finetune-bert", "a", rate="0.001")
    Path("params.yaml").rename("mine.yaml")
    write_params("bert: {learning_rate: 0.001}", "bert: {learning_rate: 0.002}")
    run_stage("finetune-bert", "a", rate="0.002")
    assert spare() == keys(old)
    assert "0 can go" in invoke("--params", "mine.yaml").output


def test_runs_by_hand_keep_their_units_and_take_none_from_dvcs(monkeypatch) -> None:
    main = run_stage("finetune-bert", "a")
    monkeypatch.delenv("DVC_STAGE")
    ablated = run_stage("finetune-bert", "b")
    assert keys(judge([]).needed) == keys(main + ablated)


def test_what_out_was_made_from_is_kept_with_its_predictions() -> None:
    model = run_stage("finetune-bert", "a")[0]
    prediction = run_stage("predict-bert", "b", model=model.key)[0]
    write_params("bert: {learning_rate: 0.001}", "bert: {learning_rate: 0.002}")
    run_stage("finetune-bert", "c")
    run_stage("predict-bert", "d")
    assert spare() == {model.key, prediction.key}
    write_json(OUT / "finetune" / "bert" / "history.json", {"units": [{"key": model.key}]})
    assert spare() == set()


@pytest.mark.parametrize("note", ["{", '{"stage": "finetune-bert", "by_dvc": true, "params": "", "units": {}}'])
def test_units_of_which_nobody_left_a_note_that_can_be_read_are_kept(caplog, note: str) -> None:
    """A note is damaged, or of an earlier form in which the stage was a name without fields."""
    run_stage("finetune-bert", "a")
    for path in REQUESTS.glob("*"):
        path.write_text(note, encoding="utf-8")
    verdict = judge([])
    assert [why for _, why in verdict.unsure] == ["no run has left a note of it"] and not verdict.spare
    assert "damaged" in caplog.text


def test_nothing_is_judged_when_a_params_file_cannot_be_read() -> None:
    write_params("seed: 7", "seed: [7", path=Path("competitions/broken/params.yaml"))
    with pytest.raises(ParamsError, match="competitions/broken/params.yaml:3: is not valid YAML"):
        judge([])


def test_a_unit_that_somebody_writes_is_left_alone() -> None:
    old = run_stage("finetune-bert", "a", "b", recipe="before")
    run_stage("finetune-bert", "a", "b", recipe="after")
    verdict = judge([])
    with (old[0].folder / "lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert old[0].key not in spare(), "it is running"
        freed, taken = clean.remove(verdict)
    assert (
        [spare.folder for spare in taken] == [old[0].folder] and old[0].result.exists() and not old[1].folder.exists()
    )
    assert 100_000 < freed < 110_000


def test_only_what_is_linked_nowhere_else_counts_as_freed() -> None:
    old = run_stage("finetune-bert", "a", recipe="before")[0]
    run_stage("finetune-bert", "a", recipe="after")
    os.link(old.result / "value.txt", "linked.txt")
    output = invoke("--yes").output
    assert "1 removed, 0." in output and "100.0 kB more are linked from out/ or DVC's cache" in output
    assert Path("linked.txt").exists()


def test_damaged_folders_that_were_set_aside_can_go_and_their_unit_stays() -> None:
    unit = run_stage("finetune-bert", "a")[0]
    (unit.result / "value.txt").write_text("spoilt", encoding="utf-8")
    run_stage("finetune-bert", "a")
    assert "finetune-bert/a: damaged, set aside as result.corrupt-" in invoke("--yes").output
    assert sorted(path.name for path in unit.folder.iterdir()) == ["cost.json", "lock", "result", "unit.json"]


def test_translations_go_when_no_params_file_names_their_model() -> None:
    for name in ("kept", "other"):
        model = Path("models") / name
        model.mkdir(parents=True)
        for file in ("config.json", "model.safetensors"):
            (model / file).write_text(json.dumps({"name": name}), encoding="utf-8")
        (FOLDER / model_digest(str(model), None)).mkdir(parents=True)
        (FOLDER / model_digest(str(model), None) / "0.jsonl").write_text("x", encoding="utf-8")
    write_params("augment: {}", "augment: {steps: [{augmenter: {name: paraphrase, model: models/kept}}]}")
    assert "0 can go" in invoke().output
    assert "of a model that no params file names" in invoke("--translations", "--yes").output
    assert [path.name for path in FOLDER.iterdir()] == [model_digest("models/kept", None)]


def test_notes_of_runs_go_with_the_last_of_their_units() -> None:
    run_stage("finetune-bert", "a", recipe="before")
    run_stage("finetune-bert", "a", recipe="after")
    assert len(read_requests()) == 2
    invoke("--yes")
    assert [json.loads(request.path.read_text())["by_dvc"] for request in read_requests()] == [True]
