"""Does it pay: one encoder with and without each kind of copy and under other objectives, on the same folds and seeds."""

import pytest

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import ABLATIONS
from pipeline.errors.exceptions import ParamsError
from pipeline.experiments.ablate_augment import ablate_augment, epochs_of_equal_steps
from pipeline.params.root import Params
from tests.small import encoder, table_and_folds

TABLE, FOLDS = table_and_folds(n_train=40)
STEPS = [
    {"augmenter": {"name": "random_words", "action": "delete"}},
    {"augmenter": {"name": "random_words", "action": "delete"}, "row_ratio": 0.5},
    {"augmenter": "keyboard"},
]


def make_params(steps: list[dict]) -> Params:
    task = {"kind": "binary", "metric": "accuracy", "train": "train.csv", "test": "test.csv"}
    values = {
        "competition": "c", "seed": 3, "tasks": {"weather": task},
        "folds": {"n_splits": 2, "near_duplicate_similarity": None}, "augment": {"steps": steps}, "training": {},
        "encoders": {"bert": encoder({"epochs": 1})}, "stitch": {"pairs": []}, "baselines": {},
        "stack": {"n_bootstrap": 50}, "submit": {}, "run": {"backend": "sequential", "device": "cpu"},
    }  # fmt: skip
    return Params.model_validate(values)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_step_alone_and_each_objective_stands_beside_no_copies() -> None:
    params = make_params(STEPS[:2])
    paths = ablate_augment(params, TABLE, FOLDS, encoder="bert", steps=["random_words delete", "mixup"])
    values = read_json(paths["weather"])
    rows = {row["variant"]: row for row in values["rows"]}
    assert list(rows) == ["no copies", "random_words delete", "mixup"]
    assert values["reference"] == "no copies" and rows["no copies"]["difference"] == 0
    assert {name: row["n_copies"] > 0 for name, row in rows.items()} == {
        "no copies": False,
        "random_words delete": True,
        "mixup": False,
    }
    for row in rows.values():
        assert row["difference"] == pytest.approx(row["score"] - rows["no copies"]["score"])
        assert row["standard_error"] >= 0 and row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert not (ABLATIONS / "copies").exists()
    assert values["chance"]["variants"] == 2 and "the best of 2 variants would show" in values["note"]


@pytest.mark.parametrize(
    ("encoder_name", "steps", "message"),
    [
        ("brt", None, "encoder: got 'brt'.*Did you mean 'bert'"),
        ("bert", ["keybord"], "steps: got 'keybord'.*Did you mean 'keyboard'"),
        ("bert", ["uda"], "steps: got 'uda'"),
    ],
    ids=["encoder", "step", "uda without texts"],
)
def test_what_cannot_be_tried_is_named(encoder_name: str, steps: list[str] | None, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        ablate_augment(make_params(STEPS), TABLE, FOLDS, encoder=encoder_name, steps=steps)


def test_steps_of_one_name_are_numbered() -> None:
    with pytest.raises(ParamsError, match="'random_words delete', 'random_words delete #2'"):
        ablate_augment(make_params(STEPS), TABLE, FOLDS, encoder="bert", steps=["?"])


def test_with_a_copy_of_each_row_half_the_epochs_take_the_same_steps() -> None:
    assert epochs_of_equal_steps(4, FOLDS, n_copies=len(FOLDS.rows)) == 2
    assert epochs_of_equal_steps(4, FOLDS, n_copies=0) == 4
    assert epochs_of_equal_steps(1, FOLDS, n_copies=10 * len(FOLDS.rows)) == 1


@pytest.mark.parametrize(("equal_steps", "epochs"), [(True, 1), (False, 2)])
def test_the_table_says_how_many_epochs_each_variant_took(equal_steps: bool, epochs: int) -> None:
    params = make_params(STEPS[:1])
    params = params.model_copy(update={"encoders": {"bert": params.encoders["bert"].model_copy(update={"epochs": 2})}})
    steps = ["random_words delete"]
    path = ablate_augment(params, TABLE, FOLDS, encoder="bert", steps=steps, equal_steps=equal_steps)["weather"]
    assert [row["epochs"] for row in read_json(path)["rows"]] == [2, epochs]
