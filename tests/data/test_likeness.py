"""Test rows of another kind are told, those of one kind are not; near-duplicates and small files mislead nobody."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.artifacts.likeness import Likeness, read_likeness, write_likeness
from pipeline.artifacts.table import TABLE_COLUMNS, Table
from pipeline.data.demo import draw_rows
from pipeline.data.likeness import auc_interval, density_ratio_weights, measure_likeness, shift_text
from pipeline.data.splitting import cluster_rows
from tests.small import make_table

UNKNOWN = Likeness(auc=None, low=None, high=None, shifted=False, telling=[])


def _table(train: list[str], test: list[str], pairs: list[str] | None = None) -> Table:
    rows = pd.DataFrame({"row_id": [str(i) for i in range(len(train) + len(test))], "text": train + test})
    rows["split"] = ["train"] * len(train) + ["test"] * len(test)
    rows = rows.assign(task="t", text_pair=pairs, label=None, group=None)
    return make_table(rows[TABLE_COLUMNS].astype("str").where(rows[TABLE_COLUMNS].notna(), None), {"t": ["a", "b"]})


def _measure(table: Table) -> tuple[pd.DataFrame, Likeness]:
    rows, tasks = measure_likeness(table, cluster_rows(table, similarity=0.85))
    return rows, tasks["t"]


def _demo(n_train: int, n_test: int, seed: int) -> tuple[list[str], list[str]]:
    texts = [row.text for row in draw_rows(n_train + n_test, seed=seed)]
    return texts[:n_train], texts[n_train:]


def test_files_of_one_kind_raise_no_alarm() -> None:
    found = [_measure(_table(*_demo(600, 200, seed)))[1] for seed in range(20)]
    assert not any(likeness["shifted"] for likeness in found)
    assert np.mean([likeness["auc"] for likeness in found]) == pytest.approx(0.5, abs=0.03)
    assert sum(likeness["low"] <= 0.5 <= likeness["high"] for likeness in found) >= 18


@pytest.mark.parametrize("word", ["tomorrow", "明天"])
def test_test_rows_of_another_kind_are_told_with_the_words_that_tell_them(
    word: str, caplog: pytest.LogCaptureFixture
) -> None:
    train, test = _demo(600, 200, seed=0)
    rows, likeness = _measure(_table(train, [f"{text} {word}" if i % 4 else text for i, text in enumerate(test)]))
    assert likeness["shifted"] and likeness["low"] > 0.6
    told = likeness["telling"][0]
    assert word in told["word"] and told["train"] < 0.01 and told["test"] == pytest.approx(0.75, abs=0.03)
    assert "Test texts can be told from training texts: AUC 0." in caplog.text and shift_text(likeness) in caplog.text
    assert rows.groupby("split")["log_odds"].median().diff().iloc[1] < -1, "test above train"


def test_what_differs_is_told_of_pairs_too() -> None:
    train, test = _demo(300, 150, seed=1)
    pairs = ["same"] * 300 + [f"other {i % 7}" for i in range(150)]
    assert _measure(_table(train, test, pairs))[1]["shifted"]


def test_rows_that_stand_in_both_files_tell_nothing() -> None:
    """Each test row has its twin in the training file: a model that saw the twin would take the test row for training."""
    train, _ = _demo(300, 0, seed=2)
    _, likeness = _measure(_table(train, train[::2]))
    assert 0.3 < likeness["auc"] < 0.7 and not likeness["shifted"]


def test_a_text_that_recurs_in_one_file_counts_once() -> None:
    train, test = _demo(300, 100, seed=3)
    once, often = (_measure(_table([*train, *["again and again, 又来了"] * n], test))[1]["auc"] for n in (1, 300))
    assert often == pytest.approx(once, abs=0.05)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (["good day"] * 5, ["bad day"] * 5),
        ([f"day {i}" for i in range(30)], [f"night {i}" for i in range(10)]),
        ([f"day {i}" for i in range(30)], []),
        ([""] * 40, [" "] * 40),
        ([chr(0x4E00 + i) for i in range(40)], [chr(0x5E00 + i) for i in range(40)]),
    ],
    ids=["five-rows", "small-test-file", "no-test-rows", "empty-texts", "nothing-shared"],
)
def test_where_nothing_can_be_known_nothing_is_said(train: list[str], test: list[str]) -> None:
    rows, likeness = _measure(_table(train, test))
    assert likeness == UNKNOWN and (rows["log_odds"] == 0).all() and len(rows) == len(train) + len(test)


def test_each_task_is_measured_by_itself_and_the_same_again() -> None:
    (train, test), rows = _demo(200, 100, seed=4), []
    for task, texts in {"one": train + test, "two": train + [f"{text} tomorrow" for text in test]}.items():
        rows.append(_table(texts[:200], texts[200:]).rows.assign(task=task))
    table = make_table(pd.concat(rows, ignore_index=True), {"one": ["a", "b"], "two": ["a", "b"]})
    first, second = (measure_likeness(table, cluster_rows(table, similarity=None)) for _ in range(2))
    pd.testing.assert_frame_equal(first[0], second[0], check_exact=True)
    assert first[1] == second[1] and [likeness["shifted"] for likeness in first[1].values()] == [False, True]


def test_what_is_written_is_read_back(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows, tasks = measure_likeness(table := _table(*_demo(60, 30, seed=5)), cluster_rows(table, similarity=None))
    rows = rows.assign(marked=True)
    write_likeness(rows, tasks)
    read, known = read_likeness()
    pd.testing.assert_frame_equal(read, rows.astype(read.dtypes), check_exact=True)
    assert known == tasks


def test_the_auc_is_scikit_learns_and_its_interval_that_of_delong_by_hand() -> None:
    generator = np.random.default_rng(0)
    is_test = generator.random(200) < 0.4
    scores = np.round(generator.normal(size=200) + is_test, 1)  # with ties
    auc, low, high = auc_interval(scores, is_test)
    assert auc == pytest.approx(roc_auc_score(is_test, scores))
    difference = scores[is_test][:, None] - scores[~is_test][None]
    above = (difference > 0) + (difference == 0) / 2
    variance = above.mean(axis=1).var(ddof=1) / is_test.sum() + above.mean(axis=0).var(ddof=1) / (~is_test).sum()
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(5 * variance))


def test_weights_of_rows_alike_are_one_and_a_single_row_has_no_say_alone() -> None:
    assert (density_ratio_weights(np.zeros(50)) == 1).all()
    weights = density_ratio_weights(np.array([1000.0, *np.zeros(990)]))
    assert weights.sum() == pytest.approx(991) and weights[0] == pytest.approx(9.91)


def test_weights_turn_training_rows_into_test_rows() -> None:
    """Half of the training texts are English, four fifths of the test texts: so are the weighted training texts."""
    texts = _demo(3000, 0, seed=6)[0]
    english = [text for text in texts if text.isascii() and text.strip()]
    chinese = [text for text in texts if not text.isascii()]
    table = _table(english[:500] + chinese[:500], english[500:900] + chinese[500:600])
    rows, _ = _measure(table)
    weights = density_ratio_weights(rows["log_odds"].to_numpy()[:1000])
    assert weights[:500].sum() / weights.sum() == pytest.approx(0.75, abs=0.05)
