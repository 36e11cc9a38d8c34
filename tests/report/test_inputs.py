"""What the report reads: today's records, one line for all of stitching, ablations where there are some."""

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.artifacts.files import write_json
from pipeline.artifacts.folds import Folds
from pipeline.artifacts.paths import OUT
from pipeline.report.inputs import read_ablations, read_histories, read_last_runs

FOLDS = Folds(pd.DataFrame({"task": ["a-b", "a-b"], "repeat": [0, 0], "fold": [0, 1]}), "f" * 64)


def record(folder: Path, stage: str, *, computed: int = 1, reused: int = 0, seconds: float = 2.0) -> None:
    """Write what a run leaves behind."""
    fields = {"stage": stage, "computed": computed, "reused": reused, "seconds": seconds}
    (folder / f"{stage}.json").write_text(json.dumps(fields), encoding="utf-8")


def test_all_of_stitching_is_one_line_after_todays_models(tmp_path: Path) -> None:
    record(tmp_path, "finetune-bert", computed=2)
    record(tmp_path, "finetune-gone")
    for fold in (0, 1):
        record(tmp_path, f"stitch-states-a-b-r0-f{fold}", computed=2)
        record(tmp_path, f"stitch-heads-a-b-r0-f{fold}", reused=3)
        record(tmp_path, f"stitch-predict-a-b-r0-f{fold}", seconds=0.5)
    found = read_last_runs(["bert"], FOLDS, tmp_path)
    assert [one["stage"] for one in found] == ["finetune-bert", "stitch"]
    assert found[1] == {"stage": "stitch", "computed": 8, "reused": 6, "seconds": 9.0}


@pytest.mark.parametrize("stage", ["stitch-heads-a-b-r0-f2", "stitch-heads-gone-r0-f0", "stitch-heads-a-b-r1-f0"])
def test_records_of_folds_that_are_no_more_do_not_count(tmp_path: Path, stage: str) -> None:
    record(tmp_path, stage)
    assert read_last_runs(["bert"], FOLDS, tmp_path) == []


def test_ablations_are_read_where_there_are_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(OUT / "ablate" / "stitch-news.json", {"rows": []})
    assert read_ablations(["news", "other"]) == {"news": {"stitch": {"rows": []}}, "other": {}}


def test_histories_are_read_by_stage_and_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(OUT / "stitch" / "a+b+cnn" / "history.json", {"units": [1]})
    assert read_histories("stitch", ["a+b+cnn"]) == {"a+b+cnn": {"units": [1]}}
