"""The whole graph on a small competition: a valid submission, killed and resumed to the same bytes, honest at chance."""

import json

import pandas as pd
import pytest

from tests.conftest import Project, make_project


def test_the_submission_is_valid_and_complete(finished: Project) -> None:
    done = finished.run("stitchfold", "validate")
    assert done.returncode == 0, done.stderr
    sample = pd.read_csv(finished.folder / "data/tiny/sample_submission.csv", dtype=str)
    submission = pd.read_csv(finished.folder / "out/submit/submission.csv", dtype=str)
    assert submission["id"].tolist() == sample["id"].tolist()


def test_every_training_row_is_out_of_fold_once_in_every_prediction_table(finished: Project) -> None:
    n_rows = len(pd.read_csv(finished.folder / "data/tiny/train.csv"))
    tables = sorted((finished.folder / "out").glob("*/*/intent.parquet"))
    assert {path.parent.name for path in tables} == {"bert", "electra", "tfidf", "ensemble"}
    for path in tables:
        oof = pd.read_parquet(path).query("split == 'oof'")
        assert len(oof) == n_rows and oof["row_id"].is_unique, path


@pytest.mark.parametrize("point", ["step:3", "checkpoint:2", "publish:4"])
def test_killed_in_fine_tuning_the_submission_has_the_same_bytes_and_no_fold_is_trained_twice(
    finished: Project, tmp_path, point: str
) -> None:
    project = make_project(tmp_path / "project")
    killed = project.run("dvc", "repro", STITCHFOLD_FAILPOINT=point)
    assert killed.returncode != 0
    finished_units = {path.parent.name for path in project.folder.glob(".stitchfold/units/*/result")}
    written = {
        key: (project.folder / ".stitchfold/units" / key / "result").stat().st_mtime_ns for key in finished_units
    }
    project.repro()
    assert project.submission() == finished.submission()
    for key, moment in written.items():
        assert (project.folder / ".stitchfold/units" / key / "result").stat().st_mtime_ns == moment


def test_two_workers_give_the_same_bytes_as_one(finished: Project, tmp_path) -> None:
    project = make_project(tmp_path / "project")
    project.edit("params.yaml", "backend: sequential, device: cpu", "backend: loky, n_workers: 2, device: cpu")
    project.repro()
    assert project.submission() == finished.submission()


def test_another_seed_gives_other_predictions(finished: Project, tmp_path) -> None:
    project = finished.clone(tmp_path / "project")
    project.edit("params.yaml", "seed: 7", "seed: 8")
    project.repro("finetune@bert")
    one, other = (pd.read_parquet(p.folder / "out/finetune/bert/intent.parquet") for p in (finished, project))
    assert not one.equals(other)


def test_shuffled_labels_score_at_chance_through_the_whole_pipeline(tmp_path) -> None:
    project = make_project(tmp_path / "project")
    train = project.folder / "data/tiny/train.csv"
    rows = pd.read_csv(train, dtype=str, keep_default_na=False)
    rows["label"] = rows["label"].sample(frac=1, random_state=5).to_numpy()
    rows.to_csv(train, index=False)
    project.repro("stack")
    scores = json.loads((project.folder / "out/stack/scores.json").read_text(encoding="utf-8"))["tasks"]["intent"]
    chance = rows["label"].value_counts(normalize=True).max()
    for model in [*scores["models"], {"name": "estimate", "score": scores["estimate"]["score"]}]:
        # four standard deviations of a binomial above the best constant answer
        assert model["score"] < chance + 4 * (chance * (1 - chance) / len(rows)) ** 0.5, model["name"]
