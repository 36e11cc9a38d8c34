"""Copies are looked at batch by batch, and what is found is what a look at all of them at once would find."""

import pandas as pd
import pytest

from pipeline.artifacts.table import TABLE_COLUMNS, Folds, Table
from pipeline.augment.screening import screen
from pipeline.params.augment import Augment
from tests.small import make_table

ROWS = ["the river rises", "a bird sings", "snow falls on the hill", "the bus is late"]


def both_tasks() -> tuple[Table, Folds]:
    """Return two tasks with the same four rows, twice in two folds."""
    rows = pd.DataFrame({"row_id": [f"r{i}" for i in range(4)], "text": ROWS, "label": list("0101")})
    rows = rows.assign(split="train", text_pair=None, group=None)
    tasks = pd.concat([rows.assign(task=task) for task in "ab"], ignore_index=True)[TABLE_COLUMNS]
    plan = pd.DataFrame({"row_id": rows["row_id"], "fold": [0, 0, 1, 1], "cluster": range(4)})
    plans = [plan.assign(task=task, repeat=repeat) for task in "ab" for repeat in range(2)]
    return make_table(tasks, {"a": ["0", "1"], "b": ["0", "1"]}), Folds(pd.concat(plans, ignore_index=True), "f" * 64)


def batch(task: str, repeat: int, fold: int, texts: list[str]) -> pd.DataFrame:
    ids = [f"r{2 * fold}~{repeat}.0.{i}" for i in range(len(texts))]
    copies = pd.DataFrame({"copy_id": ids, "row_id": f"r{2 * fold}", "text": texts, "seed": range(len(texts))})
    return copies.assign(task=task, repeat=repeat, fold=fold, step=0, edit_distance=1, text_pair=None)


def screened(batches: list[pd.DataFrame], **settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    table, folds = both_tasks()
    return screen(batches, table, folds, settings=Augment.model_validate({"steps": [], **settings}), similarity=0.85)


def test_a_twin_counts_within_its_task_and_repeat() -> None:
    places = [("a", 0, 0), ("a", 0, 1), ("a", 1, 1), ("b", 0, 0)]
    facts, _ = screened([batch(*place, ["the same copy"]) for place in places])
    assert facts["reason"].isna().tolist() == [True, False, True, True]
    assert facts["reason"][1] == "equals another copy"


def test_twins_without_a_second_text_are_found_beside_pairs_and_alone() -> None:
    alone = batch("a", 0, 1, ["the same copy"])
    beside = batch("a", 0, 0, ["the same copy", "the same copy"]).assign(text_pair=[None, "another text"])
    assert screened([beside, alone])[0]["reason"].isna().tolist() == [True, True, False]


@pytest.mark.parametrize("n_each", [1, 2, 5])
def test_batches_change_nothing_that_is_found(n_each: int) -> None:
    texts = ["THE RIVER rises", "a bird sings", "the bus is late", "a copy", "a copy"]
    whole = batch("a", 0, 0, texts)
    parts = [whole[start : start + n_each].reset_index(drop=True) for start in range(0, 5, n_each)]
    facts, barred = screened([*parts, batch("b", 1, 1, ["the river  rises"])])
    assert facts["reason"].fillna("").tolist() == [
        "", "equals another row", "equals another row", "", "equals another copy", "",
    ]  # fmt: skip
    assert barred[["copy_id", "task", "fold"]].to_numpy().tolist() == [["r2~1.0.0", "b", 0]]


def test_the_cap_is_each_folds_own() -> None:
    batches = [batch("a", 0, fold, [f"copy {fold} {i}" for i in range(n)]) for fold, n in ((0, 5), (1, 1))]
    reasons = screened(batches, max_ratio=1.0)[0]["reason"]
    assert (reasons == "over max_ratio").tolist().count(True) == 3 and reasons.isna()[5]


def test_no_copies_are_nothing_to_screen() -> None:
    facts, barred = screened([batch("a", 0, 0, [])], max_ratio=1.0)
    assert not len(facts) and not len(barred)
