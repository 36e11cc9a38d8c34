"""Fine-tuning over folds: learns, predicts each row once, trains nothing again for another test file."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.copies import COPIES_SCHEMA, Copies, no_copies
from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import predictions_path
from pipeline.artifacts.predictions import Predictions, probabilities_of, read_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.base_models.finetuning import finetune
from pipeline.base_models.fold_training import copies_of as copies_of_fitted
from pipeline.data.class_targets import ClassTargets
from pipeline.errors.exceptions import DataError
from pipeline.params.fields import Component
from pipeline.params.root import Run
from tests.small import encoder, make_table, table_and_folds

METRICS = {"weather": Component(kind="metrics", name="accuracy")}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(
    table, folds, *, name: str = "bert", key: str = "k", seed: int = 0, copies: Copies | None = None, **training
) -> Predictions:
    finetune(
        name,
        table,
        folds,
        settings=encoder({"epochs": 8, "learning_rate": 5e-3, "head_learning_rate": 1e-2, **training}),
        recipe={"train": key, "predict": "p"},
        metrics=METRICS,
        seed=seed,
        run=Run(device="cpu", n_workers=1),
        folder=Path("out/finetune") / name,
        copies=copies,
    )
    path = predictions_path("finetune", name, "weather")
    return read_predictions(path, manifest=folds.digest)


def last_run(stage: str) -> tuple[int, int]:
    record = json.loads(Path(f".stitchfold/last_run/{stage}.json").read_text(encoding="utf-8"))
    return record["computed"], record["reused"]


def accuracy(predictions: Predictions, table: Table) -> float:
    rows = table.select("weather", "train")
    probabilities = probabilities_of(predictions, "oof", rows["row_id"].tolist(), kind=ClassTargets())
    return float(np.mean(probabilities.argmax(axis=1) == rows["label"].astype(int)))


@pytest.mark.parametrize("epoch_selection", ["last", "inner"])
def test_it_learns_what_can_be_learnt_and_predicts_every_row(epoch_selection: str) -> None:
    table, folds = table_and_folds(n_train=120)
    predictions = run(table, folds, epochs=30, epoch_selection=epoch_selection, inner_ratio=0.2)
    assert accuracy(predictions, table) > 0.8
    assert predictions.rows["split"].value_counts().to_dict() == {"oof": 120, "test": 16}


N_GROUPS, N_COPIES = 48, 4


def shuffled_with_copies() -> tuple[Table, Folds]:
    """Return texts that stand four times each, in whole folds, with labels that mean nothing."""
    table, folds = table_and_folds(n_train=N_GROUPS * N_COPIES)
    train = table.rows["split"] == "train"
    groups = np.arange(N_GROUPS * N_COPIES) % N_GROUPS
    labels = np.random.default_rng(3).permutation(np.arange(N_GROUPS) % 2)[groups]
    table.rows.loc[train, "text"] = [f"{chr(0x4E00 + group)} the cat" for group in groups]
    table.rows.loc[train, "label"] = [str(label) for label in labels]
    folds.rows["fold"] = groups % 4 // 2
    return table, folds


# What a fair coin exceeds once in a thousand times, over as many throws as there are different texts.
CHANCE = 0.5 + 3.1 * (0.25 / N_GROUPS) ** 0.5


def test_L1_I12_shuffled_labels_score_at_chance() -> None:
    """Fold models of shuffled labels score at chance."""
    table, folds = shuffled_with_copies()
    assert accuracy(run(table, folds, epochs=10), table) < CHANCE


def test_L2_a_planted_leak_of_copies_across_folds_fails_that_test() -> None:
    """The test of shuffled labels notices copies that straddle folds."""
    table, folds = shuffled_with_copies()
    folds.rows["fold"] = np.random.default_rng(0).integers(0, 2, len(folds.rows))
    assert accuracy(run(table, folds, epochs=10), table) > CHANCE


def test_another_test_file_trains_nothing_again() -> None:
    table, folds = table_and_folds()
    run(table, folds)
    assert last_run("finetune-bert") == (2, 0)
    later = make_table(table.rows.replace({"text": {table.rows["text"].iloc[-1]: "quite new"}}), table.labels)
    later.rows.loc[later.rows["split"] == "train", "text"] = table.rows["text"]
    run(later, folds)
    assert last_run("finetune-bert") == (0, 2) and last_run("predict-bert") == (2, 0)


def test_another_manifest_of_the_same_folds_reuses_units_and_stamps_the_new_one() -> None:
    table, folds = table_and_folds()
    first = run(table, folds)
    second = run(table, Folds(folds.rows, "e" * 64))
    assert last_run("predict-bert") == (0, 2)
    assert second.manifest == "e" * 64 and np.array_equal(first.logits, second.logits)


def test_recipe_and_seed_are_part_of_the_key() -> None:
    table, folds = table_and_folds()
    first = run(table, folds)
    run(table, folds, key="another")
    assert last_run("finetune-bert") == (2, 0)
    other = run(table, folds, seed=1)
    assert last_run("finetune-bert") == (2, 0) and not np.array_equal(first.logits, other.logits)


def test_two_names_for_the_same_settings_share_their_units() -> None:
    table, folds = table_and_folds()
    run(table, folds)
    run(table, folds, name="twin")
    assert last_run("finetune-twin") == (0, 2)


def copies_of(table: Table, folds: Folds) -> Copies:
    """Return one copy of each training row."""
    rows = table.select("weather", "train").merge(folds.rows[["row_id", "repeat", "fold"]], on="row_id")
    variants = rows[["task", "text", "text_pair"]].assign(variant=rows["text"] + " !", variant_pair=None)
    rows = rows.assign(
        copy_id=rows["row_id"] + "~", text=rows["text"] + " !?", augmenter="sign", seed=0, edit_distance=3
    )
    return Copies(rows.assign(similarity=np.nan)[COPIES_SCHEMA.names], no_copies().barred, variants)


def history(name: str = "bert") -> list[dict]:
    return read_json(Path("out/finetune") / name / "history.json")["units"]


def test_copies_are_trained_on_beside_the_rows_and_only_by_encoders_that_take_them() -> None:
    table, folds = table_and_folds(n_train=40)
    run(table, folds, epochs=1, copies=copies_of(table, folds))
    assert [(unit["n_rows"], unit["n_copies"]) for unit in history()] == [(40, 20)] * 2
    without = run(table, folds, epochs=1, name="other", copies=copies_of(table, folds), augment=False)
    assert [(unit["n_rows"], unit["n_copies"]) for unit in history("other")] == [(20, 0)] * 2
    assert np.array_equal(without.logits, run(table, folds, epochs=1, name="third").logits)


def test_L5_copies_of_rows_that_choose_the_epoch_are_left_out() -> None:
    """The epoch is chosen on spared training rows, of which no copy is trained on."""
    table, folds = table_and_folds(n_train=40)
    run(table, folds, epochs=1, copies=copies_of(table, folds), epoch_selection="inner", inner_ratio=0.2)
    assert [(unit["n_rows"], unit["n_copies"]) for unit in history()] == [(32, 16)] * 2


def test_other_copies_train_anew_and_the_same_do_not() -> None:
    table, folds = table_and_folds(n_train=40)
    copies = copies_of(table, folds)
    run(table, folds, epochs=1, copies=copies)
    run(table, folds, epochs=1, copies=copies)
    assert last_run("finetune-bert") == (0, 2)
    run(table, folds, epochs=1, copies=Copies(copies.rows.head(30), copies.barred, copies.unlabelled))
    assert last_run("finetune-bert")[0] > 0


def test_L6_uda_learns_from_texts_without_labels_but_from_none_that_is_scored() -> None:
    """An objective that reads unlabelled texts gets none that is scored, and no label."""
    table, folds = table_and_folds(n_train=40)
    copies = copies_of(table, folds)
    more = pd.DataFrame({"task": "weather", "text": ["a new text"], "text_pair": None, "variant": ["one new text"]})
    more = Copies(no_copies().rows, copies.barred, pd.concat([copies.unlabelled, more], ignore_index=True))
    predictions = run(table, folds, epochs=1, copies=more, objective={"name": "uda", "ratio": 1})
    assert len(predictions.rows) == 40 + 2 * 8
    scored = Copies(no_copies().rows, copies.barred, copies.unlabelled[:1])  # lies in fold 0, which can have no other
    with pytest.raises(DataError, match="there is no variant of a text without a label for weather-r0-f0"):
        run(table, folds, epochs=1, copies=scored, objective="uda")


def test_a_copy_like_a_row_that_chooses_the_epoch_is_left_out_too() -> None:
    fitted = pd.DataFrame({"position": [0, 2]})
    inner = pd.DataFrame({"text": ["a row that chooses"], "text_pair": [None]})
    copies = pd.DataFrame(
        {"parent": [0, 1, 2], "text": ["one", "two", "A ROW that  chooses"], "text_pair": None, "label": 0}
    )
    assert copies_of_fitted(fitted, copies, inner)["text"].tolist() == ["one"]
    assert copies_of_fitted(fitted, copies, None)["parent"].tolist() == [0, 2]
