"""The mean over tasks: its interval by hand, and which tasks count as sharing texts."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from pipeline.artifacts.table import Table
from pipeline.ensemble.summary import group_by_texts, summarise
from tests.small import make_table


def scores_of(score: float, low: float, high: float, *, averaging: float = 0.0, baseline: bool = True) -> Any:
    """Return what summarise reads of a task of scores.json, with the score that is expected on the test rows."""
    metrics = {"f1_macro": score - averaging, "accuracy": score + 0.1}
    kinds = {"tfidf": "baseline" if baseline else "encoder", "bert": "encoder"}
    expected = {
        "tfidf": score - 0.1,
        "bert": score - 0.01,
    }  # the best, as one sees when all is done: the gain is nested
    models = [{"name": name, "kind": kinds[name], "score": value - averaging} for name, value in expected.items()]
    estimate = {"score": score - averaging, "expected": score, "test_low": low, "test_high": high, "metrics": metrics}
    return {
        "metric": "f1_macro", "higher_is_better": True, "chosen": "mean", "best_single": "bert",
        "models": [model | {"expected": expected[model["name"]]} for model in models], "estimate": estimate,
        "gain": {"value": 0.02},
    }  # fmt: skip


def table_of(**texts: tuple[Sequence[str], Sequence[str]]) -> Table:
    """Return a table with each task's training and test texts."""
    rows = [
        pd.DataFrame({"row_id": [f"{split}{n}" for n in range(len(part))], "task": task, "split": split, "text": part})
        for task, parts in texts.items()
        for split, part in zip(("train", "test"), parts, strict=True)
    ]
    frame = pd.concat(rows, ignore_index=True).assign(text_pair=None, label="a", group=None)
    return make_table(frame, {task: ["a", "b"] for task in texts})


def numbered(name: str, n: int) -> list[str]:
    return [f"{name} {number}" for number in range(n)]


APART = {task: (numbered(f"{task} train", 4), numbered(f"{task} test", 4)) for task in "abc"}
SCORES = {"a": scores_of(0.5, 0.47, 0.53), "b": scores_of(0.7, 0.66, 0.74), "c": scores_of(0.6, 0.48, 0.72)}


def test_errors_of_tasks_apart_add_up_as_squares() -> None:
    whole = summarise(SCORES, table=table_of(**APART))
    assert set(whole) == {"estimate", "out_of_fold", "low", "high", "best_single", "baseline", "tasks"}
    half = (0.03**2 + 0.04**2 + 0.12**2) ** 0.5 / 3  # 0.13 / 3
    expected = {"estimate": 0.6, "low": 0.6 - half, "high": 0.6 + half, "best_single": 0.58, "baseline": 0.5}
    assert {key: whole[key] for key in expected} == pytest.approx(expected)
    assert whole["tasks"]["b"]["best_single_name"] == "bert" and whole["tasks"]["b"]["accuracy"] == pytest.approx(0.8)


def test_errors_of_tasks_that_share_texts_add_up_as_they_are() -> None:
    shared = APART | {"b": (APART["a"][0], APART["b"][1])}
    whole = summarise(SCORES, table=table_of(**shared))
    half = ((0.03 + 0.04) ** 2 + 0.12**2) ** 0.5 / 3
    assert (whole["low"], whole["high"]) == pytest.approx((0.6 - half, 0.6 + half))


def test_an_interval_cut_at_the_end_of_the_metric_is_narrower_on_that_side_only() -> None:
    scores = {"a": scores_of(0.99, 0.95, 1.0), "b": scores_of(0.98, 0.95, 1.0)}
    whole = summarise(scores, table=table_of(a=APART["a"], b=APART["b"]))
    below, above = (0.04**2 + 0.03**2) ** 0.5 / 2, (0.01**2 + 0.02**2) ** 0.5 / 2
    assert (whole["low"], whole["high"]) == pytest.approx((0.985 - below, 0.985 + above))


@pytest.mark.parametrize(("score", "gain", "single"), [(0.99, -0.05, 1.0), (0.02, 0.05, 0.0), (0.5, 0.1, 0.4)])
def test_the_best_single_model_of_metrics_json_does_not_lie_beyond_the_metric(score, gain, single) -> None:
    scores = scores_of(score, 0.0, 1.0) | {"gain": {"value": gain}}
    whole = summarise({"a": scores, "b": scores}, table=table_of(a=APART["a"], b=APART["b"]))
    assert whole["best_single"] == pytest.approx(single) and 0 <= whole["low"] <= whole["high"] <= 1


def test_one_task_has_its_own_interval() -> None:
    whole = summarise({"b": SCORES["b"]}, table=table_of(b=APART["b"]))
    assert (whole["estimate"], whole["low"], whole["high"]) == pytest.approx((0.7, 0.66, 0.74))


def test_what_is_expected_on_the_test_rows_stands_beside_the_out_of_fold_score() -> None:
    whole = summarise({"a": scores_of(0.51, 0.48, 0.54, averaging=0.01)}, table=table_of(a=APART["a"]))
    for numbers in (whole, whole["tasks"]["a"]):
        assert (numbers["estimate"], numbers["out_of_fold"]) == (0.51, 0.5)
        assert (numbers["best_single"], numbers["baseline"]) == pytest.approx(
            (0.49, 0.41)
        )  # averaged like the estimate
    assert (whole["low"], whole["high"]) == pytest.approx((0.48, 0.54))


def test_without_a_baseline_in_some_task_the_mean_has_none() -> None:
    scores = SCORES | {"b": scores_of(0.7, 0.66, 0.74, baseline=False)}
    assert summarise(scores, table=table_of(**APART))["baseline"] is None


def test_tasks_whose_metrics_go_different_ways_have_no_mean_and_that_is_said(caplog) -> None:
    scores = SCORES | {"b": {**SCORES["b"], "higher_is_better": False}}
    whole = summarise(scores, table=table_of(**APART), n_left_out=2)
    assert [whole[key] for key in ("estimate", "out_of_fold", "best_single", "baseline", "low", "high")] == [None] * 6
    assert whole["tasks"]["b"]["estimate"] == 0.7 and whole["left_out"] == 2
    assert "the tasks have no mean score" in caplog.text


@pytest.mark.parametrize(
    ("name", "first", "second", "groups"),
    [
        ("nothing", (["x", "y"], ["z"]), (["u", "v"], ["w"]), [["a"], ["b"]]),
        ("training texts", (["x", "y"], ["z"]), (["u", "x"], ["w"]), [["a", "b"]]),
        ("test texts", (["x", "y"], ["z"]), (["u", "v"], ["z", "w"]), [["a", "b"]]),
        ("in another form", (["Good  Morning", "y"], ["z"]), (["u", "good morning"], ["w"]), [["a", "b"]]),
        ("training and test file crosswise", (["x", "y"], ["z"]), (["z", "v"], ["x"]), [["a"], ["b"]]),
        ("1 row of 100", (["x", *numbered("a", 99)], []), (["x", *numbered("b", 200)], []), [["a"], ["b"]]),
        ("2 rows of 100", (["x", "y", *numbered("a", 98)], []), (["x", "y", *numbered("b", 200)], []), [["a", "b"]]),
        ("no test rows", (["x"], []), (["y"], []), [["a"], ["b"]]),
    ],
)
def test_tasks_share_texts_in_one_file_beyond_a_hundredth_of_the_smaller(
    name: str, first: tuple[list[str], list[str]], second: tuple[list[str], list[str]], groups: list[list[str]]
) -> None:
    assert group_by_texts(table_of(a=first, b=second), ["a", "b"]) == groups, name


def test_tasks_that_share_with_a_third_one_are_one_group() -> None:
    chain = {"a": (["x", "y"], []), "lone": (["u"], []), "b": (["z", "v"], []), "c": (["y", "z"], [])}
    assert group_by_texts(table_of(**chain), list(chain)) == [["a", "b", "c"], ["lone"]]


def test_an_auxiliary_task_stands_beside_the_mean_and_counts_for_nothing() -> None:
    of_c = scores_of(0.1, float("nan"), float("nan")) | {"higher_is_better": False, "auxiliary": True}
    whole = summarise(SCORES | {"c": of_c}, table=table_of(**APART))
    alone = summarise({task: SCORES[task] for task in "ab"}, table=table_of(**APART))
    assert {**whole, "tasks": None} == {**alone, "tasks": None} and whole["estimate"] == pytest.approx(0.6)
    assert whole["tasks"]["c"]["auxiliary"] is True and whole["tasks"]["a"] == alone["tasks"]["a"]
