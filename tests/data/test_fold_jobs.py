"""What a fold trains on and what it predicts: the leak rules at the place where rows meet models."""

import numpy as np
import pytest

from pipeline.data.fold_jobs import fold_jobs, rows_digest
from pipeline.errors.exceptions import DataError
from pipeline.reproducibility import derive_seed
from tests.small import table_and_folds


def test_L4_L5_no_fold_trains_on_a_row_that_it_scores() -> None:
    """The rows that a fold scores are not among those that its models see or choose by."""
    table, folds = table_and_folds()
    table.rows["text"] = table.rows["row_id"]  # a text names its row
    for job in fold_jobs(table, folds, seed=0):
        scored = job.predicted.loc[job.predicted["split"] == "oof", "text"]
        assert not set(job.fitted["text"]) & set(scored)
        assert len(job.fitted) + len(scored) == 32


def test_I9_every_row_is_out_of_fold_once_and_every_test_row_once_per_fold() -> None:
    """Every training row is predicted exactly once out of fold, every test row once per fold."""
    jobs = fold_jobs(*table_and_folds(), seed=0)
    oof = [row for job in jobs for row in job.predicted.query("split == 'oof'")["row_id"]]
    assert len(oof) == len(set(oof)) == 32
    assert all(len(job.predicted.query("split == 'test'")) == 8 for job in jobs)


def test_hold_out_rows_are_predicted_and_never_trained_on() -> None:
    table, folds = table_and_folds()
    table.rows["text"] = table.rows["row_id"]
    held = {"003", "010"}
    folds.rows.loc[folds.rows["row_id"].isin(held), "fold"] = -1
    for job in fold_jobs(table, folds, seed=0):
        assert set(job.predicted.query("split == 'holdout'")["row_id"]) == held
        assert not set(job.fitted["text"]) & held


def test_rows_are_joined_by_id_not_by_position() -> None:
    table, folds = table_and_folds()
    folds.rows[:] = folds.rows.sample(frac=1, random_state=0).to_numpy()
    for job, expected in zip(fold_jobs(table, folds, seed=0), fold_jobs(*table_and_folds(), seed=0), strict=True):
        assert rows_digest(job.fitted.drop(columns="cluster")) == rows_digest(expected.fitted.drop(columns="cluster"))


def test_a_manifest_that_lacks_rows_is_refused() -> None:
    table, folds = table_and_folds()
    folds.rows.drop(index=0, inplace=True)
    with pytest.raises(DataError, match="knows fewer rows than .* Run dvc repro split"):
        fold_jobs(table, folds, seed=0)


def test_the_digest_of_rows_follows_every_value() -> None:
    job = fold_jobs(*table_and_folds(), seed=0)[0]
    changed = job.fitted.assign(
        label=np.where(np.arange(len(job.fitted)) == 5, 1 - job.fitted["label"], job.fitted["label"])
    )
    assert rows_digest(job.fitted) == rows_digest(job.fitted.copy()) != rows_digest(changed)


def test_a_fold_has_one_seed_and_others_for_the_models_that_stand_on_it() -> None:
    """The numbers are pinned: with other ones every unit that was ever computed would be trained again."""
    jobs = fold_jobs(*table_and_folds(), seed=3)
    assert [job.seed for job in jobs] == [1860235100, 1204186142]
    assert jobs[1].seed_of("bert", "electra", "cnn") == derive_seed(3, "weather", 0, 1, "bert", "electra", "cnn")
    assert len({seed for job in jobs for seed in (job.seed, job.seed_of("a", "cnn"), job.seed_of("cnn", "a"))}) == 6
