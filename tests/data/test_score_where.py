"""`folds.score_where`: only the rows it takes are scored, whole clusters of them, and every model trains on the others."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.table import HOLDOUT_FOLD, TABLE_COLUMNS, TRAIN_FOLD, Table
from pipeline.artifacts.table import Folds as Manifest
from pipeline.data.demo import draw_rows
from pipeline.data.fold_jobs import fold_jobs
from pipeline.data.likeness import measure_likeness
from pipeline.data.score_where import read_marks
from pipeline.data.splitting import assign_folds, cluster_rows
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.tasks import Folds, Task
from tests.small import make_table

N_TRAIN, N_TEST = 400, 100


def _table() -> Table:
    """Return rows of which every other training row and each test row end in a word; some copy one that does not."""
    drawn = draw_rows(N_TRAIN + N_TEST, seed=1)
    texts = [f"{row.text} tomorrow 明天" if i % 2 or i >= N_TRAIN else row.text for i, row in enumerate(drawn)]
    rows = pd.DataFrame({"row_id": [f"r{i}" for i in range(len(texts))], "text": texts, "task": "t"})
    rows["split"] = ["train"] * N_TRAIN + ["test"] * N_TEST
    rows["label"] = [row.meant if i < N_TRAIN else None for i, row in enumerate(drawn)]
    rows["group"] = [f"g{i // 10}" if 100 <= i < 140 else None for i in range(len(texts))]
    return make_table(rows.assign(text_pair=None)[TABLE_COLUMNS], {"t": sorted({row.meant for row in drawn})})


def _plan(table: Table, likeness: pd.DataFrame, score_where: str | None, **options: object) -> pd.DataFrame:
    folds = Folds.model_validate({"near_duplicate_similarity": 0.85, "score_where": score_where, **options})
    clusters = cluster_rows(table.only("train"), similarity=0.85)
    return assign_folds(table, clusters, likeness, folds=folds, seed=1)


@pytest.fixture(scope="module")
def table() -> Table:
    return _table()


@pytest.fixture(scope="module")
def likeness(table: Table) -> pd.DataFrame:
    """The likeness to the test file; a column marks the first sixty rows."""
    rows, _ = measure_likeness(table, cluster_rows(table, similarity=0.85))
    number = rows["row_id"].str.removeprefix("r").astype(int)
    return rows.assign(marked=(number < 60) | (number >= N_TRAIN))


def test_rows_like_the_test_files_are_scored_and_all_others_trained_on(table: Table, likeness: pd.DataFrame) -> None:
    plan = _plan(table, likeness, "test_like", n_splits=3)
    plan["like"] = [int(row_id[1:]) % 2 == 1 for row_id in plan["row_id"]]
    scored = plan["fold"] >= 0
    assert plan.loc[plan["like"], "fold"].ge(0).mean() > 0.7 and plan.loc[~plan["like"], "fold"].ge(0).mean() < 0.3
    assert set(plan.loc[~scored, "fold"]) == {TRAIN_FOLD}
    for job in fold_jobs(table, Manifest(plan, "f" * 64), seed=1):
        assert set(plan.loc[~scored, "row_id"]) <= set(job.fitted_ids)
        assert set(job.predicted.loc[job.predicted["split"] == "oof", "row_id"]) <= set(plan.loc[scored, "row_id"])


def test_rows_that_a_column_marks_are_scored_with_all_rows_of_their_clusters(
    table: Table, likeness: pd.DataFrame
) -> None:
    likeness = likeness.assign(marked=likeness["marked"] | likeness["row_id"].eq("r105"))
    plan = _plan(table, likeness, "from_here", n_splits=2, n_repeats=2, holdout_ratio=0.1).set_index("row_id")
    assert (plan.groupby(["cluster", "repeat"])["fold"].nunique() == 1).all()
    first = plan[plan["repeat"] == 0]
    scored = first[first["fold"] != TRAIN_FOLD]
    marked = likeness.loc[likeness["marked"] & (likeness["split"] == "train"), "row_id"]
    assert set(scored["cluster"]) == set(first.loc[marked, "cluster"]) and (scored["fold"] == HOLDOUT_FOLD).any()
    assert {f"r{i}" for i in range(100, 110)} <= set(scored.index), "the whole group of the one marked row"
    assert {f"r{i}" for i in range(120, 130)}.isdisjoint(scored.index)


def test_without_it_folds_hang_on_no_test_file(table: Table, likeness: pd.DataFrame) -> None:
    other = likeness.assign(log_odds=-likeness["log_odds"], marked=~likeness["marked"])
    pd.testing.assert_frame_equal(_plan(table, likeness, None), _plan(table, other, None))


def test_where_nothing_tells_test_rows_all_rows_are_like_them(table: Table, likeness: pd.DataFrame) -> None:
    unknown = likeness.assign(log_odds=0.0)
    pd.testing.assert_frame_equal(_plan(table, unknown, "test_like"), _plan(table, likeness, None))


@pytest.mark.parametrize(
    ("marked", "n_splits", "said"),
    [
        ([], 2, r"folds\.score_where: must take rows of task t to score, got none by 'here'\. Set it to null"),
        (
            ["r0", "r3"],
            3,
            r"number of clusters of task t that folds\.score_where takes \(2\), got 3.*score_where: null",
        ),
        ([f"r{i}" for i in range(12)], 5, r"rarest class's number of clusters that folds\.score_where takes \(.*null"),
    ],
)
def test_too_few_rows_to_score_are_an_error(
    marked: list[str], n_splits: int, said: str, table: Table, likeness: pd.DataFrame
) -> None:
    with pytest.raises(ParamsError, match=said):
        _plan(table, likeness.assign(marked=likeness["row_id"].isin(marked)), "here", n_splits=n_splits)


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        (["r20"], r"number of clusters of task t that folds\.score_where takes.* \(0\), got 2"),
        ([f"r{i}" for i in range(10)], r"score_where: must take rows of two classes of task t or more, got only 'a'"),
    ],
)
@pytest.mark.parametrize("holdout_ratio", [0.0, 0.1])
def test_rows_that_cannot_be_scored_are_not_enough(marked: list[str], said: str, holdout_ratio: float) -> None:
    # r20 is the only row of its class, on which every model trains whatever is to be scored
    rows = pd.DataFrame({"row_id": [f"r{i}" for i in range(21)], "task": "t", "split": "train"})
    rows["text"] = "text " + rows["row_id"]
    rows = rows.assign(label=[*"a" * 10, *"b" * 10, "c"], text_pair=None, group=None)
    table = make_table(rows[TABLE_COLUMNS], {"t": ["a", "b", "c"]})
    likeness = rows.assign(log_odds=0.0, marked=rows["row_id"].isin(marked))
    with pytest.raises(ParamsError, match=said):
        _plan(table, likeness, "here", n_splits=2, holdout_ratio=holdout_ratio)


ROWS = pd.DataFrame({"task": "t", "split": ["train"] * 3 + ["test"], "row_id": ["a", "c", "b", "a"]})


def _task(tmp_path: Path, column: str, *values: str, **options: object) -> Task:
    path = tmp_path / "train.csv"
    lines = [f"id,text,label,{column}", *(f"{row},x,0,{value}" for row, value in zip("abc", values, strict=True))]
    path.write_text("\n".join(lines), encoding="utf-8")
    settings = {"kind": "binary", "metric": "accuracy", "train": str(path), "test": "test.csv"}
    return Task.model_validate({**settings, "columns": {"id": "id"}, **options})


@pytest.mark.parametrize("values", [("true", "false", "TRUE"), ("1", "0", "1"), (" yes", "No", "yes")])
def test_marks_are_read_by_row_id_from_the_training_file(tmp_path: Path, values: tuple[str, ...]) -> None:
    tasks = {"t": _task(tmp_path, "late", *values)}
    assert read_marks(ROWS, tasks, score_where="late").tolist() == [True, True, False, True]
    by_number = {"t": _task(tmp_path, "late", *values, columns={})}
    numbered = ROWS.assign(row_id=["0", "2", "1", "0"])
    assert read_marks(numbered, by_number, score_where="late").tolist() == [True, True, False, True]


@pytest.mark.parametrize("score_where", [None, "test_like"])
def test_without_a_column_no_file_is_read(score_where: str | None) -> None:
    assert read_marks(ROWS, {}, score_where=score_where).all()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (
            "late",
            "maybe",
            r"train\.csv:3: column 'late', .*must hold true, 1, yes, false, 0, no, got 'maybe' \(1 such rows\)",
        ),
        ("late", "", r"train\.csv:3: column 'late', .* got ''"),
        ("lat", "true", r"folds\.score_where: must be test_like or a column of .*train\.csv, got 'late'\. Correct it"),
    ],
)
def test_a_column_that_is_not_there_or_says_something_else_is_an_error(
    tmp_path: Path, column: str, value: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        read_marks(ROWS, {"t": _task(tmp_path, column, "true", value, "no")}, score_where="late")


def test_rows_left_out_of_the_table_need_no_mark(tmp_path: Path) -> None:
    kept = ROWS[ROWS["row_id"] != "b"]
    assert np.array_equal(
        read_marks(kept, {"t": _task(tmp_path, "late", "1", "0", "0")}, score_where="late"), [1, 0, 1]
    )


def test_marks_of_rows_without_ids_are_found_whatever_they_are_counted_from(tmp_path: Path) -> None:
    task = _task(tmp_path, "late", "true", "no", "1")
    task = task.model_copy(update={"columns": task.columns.model_copy(update={"id": None, "first_id": 7})})
    counted = ROWS.assign(row_id=ROWS["row_id"].map({"a": "7", "b": "8", "c": "9"}))
    assert np.array_equal(read_marks(counted, {"t": task}, score_where="late"), [1, 1, 0, 1])
