"""The layers of a frozen encoder as features: cross-fitted, resumed, shared by folds where the encoder is the same."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import ABLATIONS
from pipeline.artifacts.table import Folds, Table
from pipeline.errors.exceptions import ParamsError
from pipeline.experiments.ablate_layers import ablate_layers
from pipeline.params.loading import load_params
from pipeline.units.store import stored_units
from tests.children import begin_in_child
from tests.experiments.edited import write_competition


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def study(table: Table, folds: Folds, *, encoder: str = "bert", pooling: str = "mean") -> dict[str, Any]:
    path = ablate_layers(load_params(), table, folds, encoder=encoder, pooling=pooling)["intent"]
    values: dict[str, Any] = read_json(path)
    return values


def test_every_layer_and_mix_stands_beside_the_last_one() -> None:
    table, folds = write_competition()
    values = study(table, folds)
    assert [row["variant"] for row in values["rows"]] == ["embeddings", "layer 1", "mean of all layers"]
    assert values["reference"] == "layer 1" and values["chance"]["variants"] == 2
    assert max(row["score"] for row in values["rows"]) > 0.7  # the label is a word of the text
    assert (ABLATIONS / "layers-intent.svg").exists()
    assert [unit.name for unit in stored_units()] == [f"bert/layers/intent-r0-f{fold}" for fold in range(3)]


def test_shuffled_labels_score_at_chance() -> None:
    table, folds = write_competition()
    train = table.rows["split"] == "train"
    shuffled = np.random.default_rng(3).permutation(table.rows.loc[train, "label"])
    rows = table.rows.assign(text=[f"{text} {number}" for number, text in enumerate(table.rows["text"])])
    rows.loc[train, "label"] = shuffled
    values = study(Table(rows, table.labels, table.kinds), folds)
    assert max(row["score"] for row in values["rows"]) < 0.5 + 3.1 * (0.25 / 60) ** 0.5


def test_several_labels_of_a_row() -> None:
    table, folds = write_competition(kind="multilabel")
    values = study(table, folds)
    assert values["metric"] == "f1_macro" and max(row["score"] for row in values["rows"]) > 0.6


def test_numbers_for_targets() -> None:
    table, folds = write_competition(kind="regression")
    values = study(table, folds)
    assert values["metric"] == "rmse" and min(row["score"] for row in values["rows"]) < 0.5  # that of the mean


def test_killed_in_the_middle_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    table, folds = write_competition()
    monkeypatch.setenv("STITCHFOLD_FAILPOINT", "computed:5")  # three folds' vectors, then the second fold's models
    child = begin_in_child(lambda: study(table, folds))
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    monkeypatch.delenv("STITCHFOLD_FAILPOINT")
    done = {unit.key: unit.result.stat().st_mtime_ns for unit in stored_units() if unit.state == "finished"}
    assert len(done) == 4
    values = study(table, folds)
    left = {unit.key: unit.result.stat().st_mtime_ns for unit in stored_units()}
    assert len(left) == 3 and len(set(left.items()) & set(done.items())) == 1
    assert values == study(table, folds)


def test_folds_share_the_vectors_of_an_encoder_that_is_the_same_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.experiments import ablate_layers as module

    table, folds = write_competition()
    jobs = module.fold_jobs(table.only("train"), folds, seed=7)
    settings, pooling = load_params().encoders["bert"], module._pooling("mean")
    own = {module._base("bert", settings, job, pooling).digest for job in jobs}
    monkeypatch.setattr(module.components, "needed", lambda *_: {"max_length"})
    shared = {module._base("bert", settings, job, pooling).digest for job in jobs}
    assert len(own) == 3 and len(shared) == 1


@pytest.mark.parametrize(
    ("encoder", "pooling", "message"),
    [
        ("brt", "mean", "encoder: got 'brt'.*Did you mean 'bert'"),
        ("bert", "maen", "pooling: got 'maen'.*Did you mean 'mean'"),
        ("bert", "attention", "pooling: must have nothing to learn.*got attention"),
    ],
)
def test_what_cannot_be_studied_is_named(encoder: str, pooling: str, message: str) -> None:
    table, folds = write_competition()
    with pytest.raises(ParamsError, match=message):
        study(table, folds, encoder=encoder, pooling=pooling)
