"""The test standard: the validation score of each epoch and seed, on rows that folds spare, and what is said of it."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts.files import read_json
from pipeline.errors.exceptions import ParamsError
from pipeline.experiments.ablate_standard import ablate_standard, curve_rows, standard_edits
from pipeline.experiments.terminal import table_lines
from pipeline.experiments.variants import AS_IS, read_variants
from pipeline.units.store import stored_units
from tests.experiments.edited import write_competition

PARAMS = Path("params.yaml")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_mean_and_variance_are_over_epochs_and_seeds_of_the_mean_over_folds() -> None:
    """Two seeds, two folds, two epochs: means over folds .5 .6 and .7 .8; their mean .65, variance .05 / 3."""
    scores = np.array([[[0.4, 0.5], [0.6, 0.7]], [[0.6, 0.7], [0.8, 0.9]]])
    better, worse = curve_rows({"worse": -scores - 1, "better": -scores}, sign=-1)
    assert better["variant"] == "better" and worse["mean"] == pytest.approx(1.65)
    assert (better["mean"], better["variance"]) == pytest.approx((0.65, 0.05 / 3))
    assert better["epochs"] == pytest.approx([0.6, 0.7])


def test_an_epoch_without_a_score_in_a_fold_is_that_of_the_other_folds() -> None:
    [row] = curve_rows({"a": np.array([[[0.5], [np.nan]]])}, sign=1)
    assert (row["mean"], row["variance"]) == (0.5, None)


def test_every_epoch_of_every_setting_is_scored_on_spared_rows() -> None:
    table, folds = write_competition()
    edits = ["encoders.bert.learning_rate=1e-2"]
    model, variants = read_variants(PARAMS, edits, model=None, grid=False, always=standard_edits(3))
    assert [params.encoders["bert"].epoch_selection for params in variants.values()] == ["inner", "inner"]
    path = ablate_standard(variants, table, folds, model=model, n_seeds=2)["intent"]
    values: dict[str, Any] = read_json(path)
    rows = {row["variant"]: row for row in values["rows"]}
    assert set(rows) == {AS_IS, "learning_rate=1e-2"} and len(stored_units()) == 2 * 2 * 3 * 2
    assert all(len(row["epochs"]) == 3 and 0 < row["variance"] < 0.25 for row in rows.values())
    assert "not honest estimates" in values["note"] and "after each of 3 epochs on the 10%" in values["note"]
    lines = list(table_lines(values))
    assert any(line.strip().startswith("learning_rate=1e-2") and line.count("0.") >= 4 for line in lines)
    ElementTree.parse(path.with_suffix(".svg"))


def test_only_an_encoder_has_epochs() -> None:
    write_competition()
    with pytest.raises(ParamsError, match="model: must be an encoder, got 'tfidf'"):
        read_variants(PARAMS, [], model="tfidf", grid=False, always=standard_edits())
