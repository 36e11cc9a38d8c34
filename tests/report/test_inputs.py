"""What the report reads: today's records, one line for all of stitching, ablations where there are some."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import OUT
from pipeline.artifacts.table import Folds, Table
from pipeline.report.inputs import read_ablations, read_histories, read_last_runs, texts_of_hardest
from pipeline.text.templates import render
from pipeline.units.stage import LAST_RUN, LastRun, Stage

FOLDS = Folds(pd.DataFrame({"task": ["a-b", "a-b"], "repeat": [0, 0], "fold": [0, 1]}), "f" * 64)


def record(stage: Stage, *, computed: int = 1, reused: int = 0, seconds: float = 2.0) -> None:
    """Write what a run leaves behind."""
    LastRun(stage, computed, reused, seconds).write()


def test_all_of_stitching_is_one_line_after_todays_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record(Stage("finetune", model="bert"), computed=2)
    record(Stage("finetune", model="gone"))
    for number in (0, 1):
        fold = {"task": "a-b", "repeat": 0, "fold": number}
        record(Stage("stitch-states", **fold), computed=2)
        record(Stage("stitch-heads", **fold), reused=3)
        record(Stage("stitch-predict", **fold), seconds=0.5)
    (LAST_RUN / "damaged.json").write_text('{"stage": "finetune-bert"}', encoding="utf-8")
    assert read_last_runs(["bert"], FOLDS) == [
        {"stage": "finetune-bert", "computed": 2, "reused": 0, "seconds": 2.0},
        {"stage": "stitch", "computed": 8, "reused": 6, "seconds": 9.0},
    ]


@pytest.mark.parametrize(("task", "repeat", "fold"), [("a-b", 0, 2), ("gone", 0, 0), ("a-b", 1, 0)])
def test_records_of_folds_that_are_no_more_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, repeat: int, fold: int
) -> None:
    monkeypatch.chdir(tmp_path)
    record(Stage("stitch-heads", task=task, repeat=repeat, fold=fold))
    assert read_last_runs(["bert"], FOLDS) == []


def test_ablations_are_read_where_there_are_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(OUT / "ablate" / "stitch-news.json", {"rows": []})
    assert read_ablations(["news", "other"]) == {"news": {"stitch": {"rows": []}}, "other": {}}


def test_histories_are_read_by_stage_and_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(OUT / "stitch" / "a+b+cnn" / "history.json", {"units": [1]})
    assert read_histories("stitch", ["a+b+cnn"]) == {"a+b+cnn": {"units": [1]}}


def test_the_hardest_rows_show_a_templates_separator_and_no_mark() -> None:
    first, second = render("{a} [SEP] by {b}", {"a": ["x", "y"], "b": ["u", ""]})
    rows = pd.DataFrame({"row_id": ["0", "1"], "text": [first, second], "text_pair": [second, None]})
    table = Table(rows.assign(task="t", split="train", label="0", group=None), {"t": ["0", "1"]}, {})
    scores: Any = {"t": {"hardest": [{"row_id": "0"}, {"row_id": "1"}]}}
    assert texts_of_hardest(table, scores) == {"t": {"0": ("x [SEP] by u", "y"), "1": ("y", None)}}
