"""A model with and without edits: paired over folds, over seeds, with what it costs, and never trained twice."""

import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts.files import read_json
from pipeline.artifacts.histories import UnitRecord
from pipeline.artifacts.paths import ABLATIONS
from pipeline.artifacts.table import Folds, Table
from pipeline.experiments.ablate_edits import ablate_edits
from pipeline.experiments.fold_errors import fold_interval
from pipeline.experiments.fold_table import costs
from pipeline.experiments.terminal import table_lines
from pipeline.experiments.variants import AS_IS, read_variants
from pipeline.units.store import stored_units
from tests.children import begin_in_child
from tests.experiments.edited import write_competition

PARAMS = Path("params.yaml")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ablate(edits: list[str], table: Table, folds: Folds, *, grid: bool = False, n_seeds: int = 1) -> dict[str, Any]:
    model, variants = read_variants(PARAMS, edits, model=None, grid=grid)
    values: dict[str, Any] = read_json(ablate_edits(variants, table, folds, model=model, n_seeds=n_seeds)["intent"])
    return values


def computed(stage: str) -> tuple[int, int]:
    record = json.loads(Path(f".stitchfold/last_run/{stage}.json").read_text(encoding="utf-8"))
    return record["computed"], record["reused"]


def test_each_edit_stands_beside_the_file_as_it_is() -> None:
    table, folds = write_competition()
    values = ablate(["encoders.bert.epochs=4", "encoders.bert.loss=focal"], table, folds, grid=True)
    rows = {row["variant"]: row for row in values["rows"]}
    assert set(rows) == {AS_IS, "epochs=4", "loss=focal", "epochs=4 & loss=focal"}
    assert (values["reference"], values["model"], values["chance"]["variants"]) == (AS_IS, "bert", 3)
    differences = [row["difference"] for row in values["rows"]]
    assert differences == sorted(differences, reverse=True)
    for row in rows.values():
        assert row["difference"] == pytest.approx(row["score"] - rows[AS_IS]["score"])
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert row["peak_memory"] > 1e7 and row["device"] == "cpu"
    assert rows[AS_IS]["time_ratio"] == 1 and rows["epochs=4"]["time_ratio"] > 1
    assert "Nadeau" in values["note"] and "on cpu" in values["note"] and "the best of 3 variants" in values["note"]
    assert not (ABLATIONS / "trained").exists()
    svg = (ABLATIONS / "edits-intent.svg").read_text(encoding="utf-8")
    assert "epochs=4 &amp; loss=focal" in svg and "var(" not in svg and ElementTree.fromstring(svg).tag.endswith("}svg")
    shown = list(table_lines(values))
    assert any("time × 1.00" in line and line.strip().startswith(AS_IS) for line in shown)


def test_over_seeds_a_fold_counts_its_mean_and_no_unit_is_trained_twice() -> None:
    table, folds = write_competition()
    first = ablate(["encoders.bert.epochs=4"], table, folds)
    n_units = len(stored_units())
    ablate(["encoders.bert.epochs=4"], table, folds, n_seeds=2)
    assert len(stored_units()) == 2 * n_units
    assert computed("finetune-bert") == (3, 0)  # the last seed of the last variant
    again = ablate(["encoders.bert.epochs=4"], table, folds)
    assert len(stored_units()) == 2 * n_units and computed("finetune-bert") == (0, 3)
    assert again == first


def test_killed_in_the_middle_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    table, folds = write_competition()
    edits = ["encoders.bert.epochs=2", "encoders.bert.loss=focal"]
    monkeypatch.setenv("STITCHFOLD_FAILPOINT", "computed:9")  # of 18 units: training within the second setting
    child = begin_in_child(lambda: ablate(edits, table, folds))
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    monkeypatch.delenv("STITCHFOLD_FAILPOINT")
    done = {unit.key: unit.result.stat().st_mtime_ns for unit in stored_units() if unit.state == "finished"}
    assert 0 < len(done) < 18 and not (ABLATIONS / "edits-intent.json").exists()
    values = ablate(edits, table, folds)
    units = {unit.key: unit for unit in stored_units()}
    assert len(units) == 18 and {key: units[key].result.stat().st_mtime_ns for key in done} == done
    rows = {row["variant"]: row["score"] for row in values["rows"]}
    assert len(rows) == 3 and all(np.isfinite(list(rows.values())))


def test_the_error_is_that_of_the_paired_folds() -> None:
    table, folds = write_competition()
    values = ablate(["baselines.tfidf.C=0.001"], table, folds)
    assert values["model"] == "tfidf"
    other = values["rows"][-1] if values["rows"][0]["variant"] == AS_IS else values["rows"][0]
    assert other["time_ratio"] is None and "Time is" not in values["note"]
    ratio = 20 / 40  # 60 rows in three folds
    assert other["standard_error"] == pytest.approx(
        fold_interval(np.array(by_fold("tfidf", table, folds)), ratio=ratio).standard_error
    )


def by_fold(model: str, table: Table, folds: Folds) -> list[float]:
    """Return the paired differences in accuracy of the folds, from the fold units' predictions themselves."""
    from pipeline.artifacts.predictions import read_predictions

    labels = table.select("intent", "train").set_index("row_id")["label"].astype(int)
    right: dict[int, list[float]] = {}
    for unit in sorted(
        (u for u in stored_units() if u.name.startswith(model)), key=lambda u: u.folder.stat().st_mtime_ns
    ):
        found = read_predictions(unit.result / "predictions.parquet", manifest=None)
        oof = (found.rows["split"] == "oof").to_numpy()
        said = found.logits[oof].argmax(axis=1) == labels.loc[found.rows.loc[oof, "row_id"]].to_numpy()
        right.setdefault(int(found.rows["fold"].iloc[0]), []).append(float(said.mean()))
    return [second - first for first, second in right.values()]


def test_edits_of_what_copies_are_made_make_them_anew() -> None:
    table, folds = write_competition()
    edit = "augment.steps=[{augmenter: {name: random_words, action: delete}}]"
    values = ablate([edit], table, folds)
    assert {row["variant"] for row in values["rows"]} == {AS_IS, edit} and values["model"] == "bert"
    assert computed("augment")[0] > 0


def test_stitched_models_are_compared_by_their_mean() -> None:
    table, folds = write_competition()
    values = ablate(["stitch.head_rows=noised"], table, folds)
    assert values["model"] == "stitched" and len(values["rows"]) == 2
    assert computed("finetune-electra") == (0, 3)  # the edit is none of the encoders': the second setting finds them


def test_costs_are_ratios_to_the_reference_where_units_say_them() -> None:
    def units(seconds: float, **memory: int) -> list[UnitRecord]:
        record: Any = {"seconds": seconds, "numerics": {"device": "cpu"}, **memory}
        return [record, record]

    found = costs({"a": units(2.0, peak_memory=100), "b": units(3.0, peak_memory=150), "c": units(1.0), "d": []}, "a")
    assert [fact["time_ratio"] for fact in found.values()] == [1.0, 1.5, 0.5, None]
    assert [fact["memory_ratio"] for fact in found.values()] == [1.0, 1.5, None, None]
    assert (found["b"]["seconds"], found["b"]["peak_memory"], found["d"]["device"]) == (6.0, 150, "")
