"""The table of what was tried: how many variants, what the best of them would show by chance, and which are beyond that."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.ablate_commands import _show
from pipeline.artifacts.files import read_json
from pipeline.experiments.paired_table import scored_ids, write_tables
from pipeline.params.root import Params
from tests.small import encoder, table_and_folds

TABLE, FOLDS = table_and_folds(n_train=200)


def tables(metric: str, sharpness: dict[str, float]) -> dict[str, Path]:
    """Write the table of variants whose probabilities hold the label with a given sharpness beside the same noise."""
    task = {"kind": "binary", "metric": metric, "train": "train.csv", "test": "test.csv"}
    params = Params.model_validate({
        "competition": "c", "seed": 3, "tasks": {"weather": task},
        "folds": {"n_splits": 2, "near_duplicate_similarity": None}, "augment": {}, "training": {},
        "encoders": {"bert": encoder()}, "stitch": {"pairs": []}, "baselines": {}, "stack": {"n_bootstrap": 400},
        "submit": {},
    })  # fmt: skip
    labels = TABLE.select("weather", "train").set_index("row_id")["label"].loc[scored_ids(FOLDS, "weather")]
    signs = 2 * labels.astype(int).to_numpy() - 1
    generator = np.random.default_rng(0)
    common = generator.normal(size=len(signs))
    blends = {}
    for name, strength in sharpness.items():
        logits = strength * signs + common + 0.2 * generator.normal(size=len(signs))
        blends[name] = np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], axis=1)
    return write_tables("augment", params, TABLE, FOLDS, {"weather": blends}, reference="plain", note="As said.")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("log_loss", -1)])
def test_variants_beyond_chance_are_marked_whichever_way_the_metric_points(metric: str, sign: int) -> None:
    tried = {"plain": 1.0, "as good": 1.0, "also": 1.0, "better": 2.0, "worse": 0.3}
    values: dict[str, Any] = read_json(tables(metric, tried)["weather"])
    rows = {row["variant"]: row for row in values["rows"]}
    assert {name for name, row in rows.items() if row["beyond_chance"]} == {"better"}
    chance = values["chance"]
    assert chance["variants"] == 4
    assert 0 < sign * chance["mean"] < sign * chance["one_in_twenty"] < sign * rows["better"]["difference"]
    signed = {1: r"\+", -1: "−"}[sign] + r"0\.0\d\d\d"
    sentence = f"the best of 4 variants would show {signed} by chance, and one time in twenty {signed} or better"
    assert re.search(sentence, values["note"]) and values["note"].startswith("As said. Were none better than 'plain'")


def test_of_one_variant_chance_is_its_own_and_of_none_nothing_is_said() -> None:
    values = read_json(tables("accuracy", {"plain": 1.0, "other": 1.0})["weather"])
    error = values["rows"][1]["standard_error"]
    assert values["chance"]["mean"] == pytest.approx(0, abs=1e-12) and "the one variant would show" in values["note"]
    assert values["chance"]["one_in_twenty"] == pytest.approx(1.645 * error, rel=0.25)
    alone = read_json(tables("accuracy", {"plain": 1.0})["weather"])
    assert alone["chance"] is None and alone["note"] == "As said." and not alone["rows"][0]["beyond_chance"]


def test_the_terminal_shows_the_mark_and_the_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    _show(tables("log_loss", {"plain": 1.0, "as good": 1.0, "better": 2.0}))
    lines = capsys.readouterr().out.splitlines()
    [marked] = [line for line in lines if line.endswith(" *")]
    assert marked.strip().startswith("better") and " −0." in marked
    assert any("the best of 2 variants would show" in line for line in lines)


def test_what_has_no_score_is_shown_as_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    TABLE.rows.loc[TABLE.rows["split"] == "train", "label"], kept = "0", TABLE.rows["label"].copy()
    try:
        _show(tables("auc", {"plain": 1.0, "other": 2.0}))
    finally:
        TABLE.rows["label"] = kept
    assert "other                         –  – ± – [–, –]" in capsys.readouterr().out
