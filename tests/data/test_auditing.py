"""The audit counts what was planted in the data."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pipeline.artifacts.table import TABLE_COLUMNS, Table
from pipeline.data.auditing import audit, count_tokens
from pipeline.data.likeness import measure_likeness
from pipeline.data.splitting import cluster_rows
from tests.small import make_table

LONG = "the weather is fine today and we all go for a long walk in the park " * 4


def _table(train: list[tuple[str, str]], test: list[str], labels: list[str]) -> Table:
    rows: list[dict[str, Any]] = [
        {"row_id": str(i), "split": "train", "text": text, "label": label} for i, (text, label) in enumerate(train)
    ]
    rows += [{"row_id": str(i), "split": "test", "text": text} for i, text in enumerate(test, start=len(train) - 1)]
    frame = pd.DataFrame(rows).assign(task="t", text_pair=None, group=None)
    return make_table(frame[TABLE_COLUMNS].astype("str"), {"t": labels})


@pytest.fixture
def audited() -> dict[str, Any]:
    train = [
        ("one", "pos"),
        ("one", "neg"),
        ("one", "pos"),
        (LONG, "pos"),
        (LONG + "!", "pos "),
        ("", "Pos"),
        ("\u200b ", "neg"),
    ]
    table = _table(train, ["one", LONG + "?", "你好吗 ok"], ["Pos", "neg", "pos", "pos ", "unused"])
    clusters = cluster_rows(table, similarity=0.85)
    return audit(table, clusters, measure_likeness(table, clusters)[1])["t"]


def test_rows_and_classes_are_counted(audited: dict[str, Any]) -> None:
    assert audited["rows"] == {"train": 7, "test": 3}
    assert audited["classes"] == {"Pos": 1, "neg": 2, "pos": 3, "pos ": 1, "unused": 0}


def test_lengths_are_quantiles_of_characters_and_tokens(audited: dict[str, Any]) -> None:
    assert audited["lengths"]["train"]["characters"] == {
        "50": 3,
        "90": len(LONG) + 1,
        "99": len(LONG) + 1,
        "max": len(LONG) + 1,
    }
    assert audited["lengths"]["train"]["tokens"] == {"50": 1, "90": 64, "99": 64, "max": 64}
    assert audited["lengths"]["test"]["tokens"] == {"50": 4, "90": 64, "99": 64, "max": 64}


def test_D11_texts_with_nothing_to_see_are_empty(audited: dict[str, Any]) -> None:
    """Empty, blank and zero-width texts are kept, counted and shown with their ids."""
    assert audited["empty_texts"] == {"train": {"count": 2, "row_ids": ["5", "6"]}, "test": {"count": 0, "row_ids": []}}


def test_D5_exact_and_near_duplicates_are_told_apart(audited: dict[str, Any]) -> None:
    """Equal and nearly equal texts are counted apart, with examples."""
    duplicates = audited["duplicates"]
    assert (duplicates["exact_rows"], duplicates["near_rows"], duplicates["clusters"]) == (3, 2, 2)
    assert duplicates["largest_clusters"][0] == {"rows": 4, "examples": ["one"]}
    assert [len(text) for text in duplicates["largest_clusters"][1]["examples"]] == [120, 120, 120]


def test_D5_equal_texts_with_different_labels_conflict(audited: dict[str, Any]) -> None:
    """Equal texts with different labels are counted and shown."""
    assert audited["conflicting_labels"] == {
        "texts": 1,
        "rows": 3,
        "examples": [{"text": "one", "labels": ["neg", "pos"]}],
    }


def test_D4_D5_overlap_of_train_and_test_is_counted(audited: dict[str, Any]) -> None:
    """Ids, texts and near-duplicates that stand in both the training and the test file are counted."""
    assert audited["overlap"] == {"test_ids_in_train": 1, "test_texts_in_train": 1, "test_near_duplicates_in_train": 2}


def test_D17_spellings_of_one_label_are_reported(audited: dict[str, Any]) -> None:
    """Labels that differ in case or blanks only are reported as perhaps one."""
    assert audited["label_variants"] == [["Pos", "pos", "pos "]]


@pytest.mark.parametrize(
    ("text", "tokens"), [("don't stop", 3), ("日本語 and カナ", 6), ("naïve_word 42", 2), ("😀!", 0)]
)
def test_tokens_are_words_or_cjk_characters(text: str, tokens: int) -> None:
    assert count_tokens(pa.array([text])).tolist() == [tokens]
