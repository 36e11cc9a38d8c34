"""The whole graph on a small competition: a valid submission, killed and resumed to the same bytes, honest at chance."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.conftest import PARAMS, Project, make_competition, make_project
from tests.faults import harness


def test_the_submission_is_valid_and_complete(finished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.folder)
    done = CliRunner().invoke(app, ["validate"])
    assert done.exit_code == 0, done.output
    sample = pd.read_csv(finished.folder / "data/tiny/sample_submission.csv", dtype=str)
    submission = pd.read_csv(finished.folder / "out/submit/submission.csv", dtype=str)
    assert submission["id"].tolist() == sample["id"].tolist()


def test_every_training_row_is_out_of_fold_once_in_every_prediction_table(finished: Project) -> None:
    n_rows = len(pd.read_csv(finished.folder / "data/tiny/train.csv"))
    tables = sorted((finished.folder / "out").glob("*/*/intent.parquet"))
    assert {path.parent.name for path in tables} == {"bert", "electra", "bert+electra+cnn", "tfidf", "ensemble"}
    for path in tables:
        oof = pd.read_parquet(path).query("split == 'oof'")
        assert len(oof) == n_rows and oof["row_id"].is_unique, path


@pytest.mark.slow
def test_F1_I1_killed_in_fine_tuning_dvc_repro_ends_in_the_same_bytes_and_trains_no_fold_twice(
    finished: Project, tmp_path
) -> None:
    """After SIGKILL in the second of two folds, `dvc repro` goes on from its checkpoint and leaves the first one alone."""
    project = make_project(tmp_path / "project")
    killed = project.run("dvc", "repro", STITCHFOLD_FAILPOINT="checkpoint:6")
    assert killed.returncode != 0
    finished_units = {path.parent.name for path in project.folder.glob(".stitchfold/units/*/result")}
    units = [json.loads((project.folder / f".stitchfold/units/{key}/unit.json").read_text()) for key in finished_units]
    assert [unit["step"] for unit in units].count("finetune") == 1, "killed in the second of two folds"
    written = {
        key: (project.folder / ".stitchfold/units" / key / "result").stat().st_mtime_ns for key in finished_units
    }
    project.repro()
    assert project.submission() == finished.submission()
    for key, moment in written.items():
        assert (project.folder / ".stitchfold/units" / key / "result").stat().st_mtime_ns == moment


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [2, 4])
def test_I16_several_workers_give_the_same_bytes_as_one(finished: Project, tmp_path, n_workers: int) -> None:
    """One process per unit, each with the same number of threads: how many there are changes no bit."""
    project = make_project(tmp_path / "project")
    run = f"backend: loky, n_workers: {n_workers}, device: cpu"
    project.edit("params.yaml", "backend: sequential, device: cpu", run)
    project.repro()
    assert project.submission() == finished.submission()


def test_I15_another_seed_gives_other_predictions(finished: Project, tmp_path, monkeypatch) -> None:
    """The seed is not ignored: another one gives other predictions."""
    project = finished.clone(tmp_path / "project")
    project.edit("params.yaml", "seed: 7", "seed: 8")
    shutil.rmtree(project.folder / "out/finetune/bert")
    project.run_stages(monkeypatch, "finetune bert")  # over the same folds
    one, other = (pd.read_parquet(p.folder / "out/finetune/bert/intent.parquet") for p in (finished, project))
    assert not one.equals(other)


@pytest.mark.parametrize("leak", [False, True], ids=["honest", "planted leak"])
def test_L1_L2_I12_shuffled_labels_score_at_chance_through_the_whole_pipeline_unless_copies_straddle_folds(
    tmp_path: Path, leak: bool
) -> None:
    """With labels shuffled at the source every model and the estimate score at chance; a planted leak shows at once."""
    step = "{augmenter: {name: random_words, action: swap}, row_ratio: 0.3}"
    params = PARAMS.replace("epochs: 1,", "epochs: 30,").replace("checkpoint_seconds: 0.001", "checkpoint_seconds: 60")
    params = params.replace("augment: {}", f"augment: {{steps: [{step}]}}")
    if leak:  # equal texts share a fold, but the copies have one sign more
        params = params.replace("near_duplicate_similarity: 0.85", "near_duplicate_similarity: null")
    make_competition(tmp_path, params)
    (tmp_path / harness.MARKS).mkdir()
    train = tmp_path / "data/tiny/train.csv"
    rows = pd.read_csv(train, dtype=str, keep_default_na=False).drop_duplicates("synthetic_text")
    rows["label"] = rows["label"].sample(frac=1, random_state=5).to_numpy()
    n_texts, chance = len(rows), rows["label"].value_counts(normalize=True).max()
    copies = rows.assign(id=rows["id"] + "-copy", synthetic_text=rows["synthetic_text"] + " !")
    pd.concat([rows, copies]).to_csv(train, index=False)
    harness.finish(tmp_path, last="stack")
    task = json.loads((tmp_path / "out/stack/scores.json").read_text(encoding="utf-8"))["tasks"]["intent"]
    scores = {model["name"]: model["score"] for model in task["models"]} | {"estimate": task["estimate"]["score"]}
    # three standard deviations above the best constant answer, over as many draws as there are different texts
    bound = chance + 3 * (chance * (1 - chance) / n_texts) ** 0.5
    above = {name for name, score in scores.items() if score > bound}
    assert above == (set(scores) if leak else set()), (bound, scores)
