"""Edits of params.yaml: what they make of it, in a grid too, and what cannot be compared, all told before anything trains."""

from pathlib import Path

import pytest

from pipeline.errors.exceptions import ParamsError
from pipeline.experiments.variants import AS_IS, read_variants
from tests.experiments.edited import write_competition

PARAMS = Path("params.yaml")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_competition()


def test_an_edit_is_what_the_file_would_be_with_it() -> None:
    edits = ["encoders.bert.loss={name: focal, gamma: 1}", "training.epochs=3"]
    model, variants = read_variants(PARAMS, edits, model=None, grid=False)
    assert model == "bert"
    assert list(variants) == [AS_IS, "loss={name: focal, gamma: 1}", "training.epochs=3"]
    plain, focal, longer = (params.encoders["bert"] for params in variants.values())
    assert (focal.loss.name, focal.loss.options) == ("focal", {"gamma": 1}) and focal.epochs == plain.epochs == 1
    assert longer.epochs == 3 and longer.loss == plain.loss


def test_of_a_component_single_options_can_be_edited() -> None:
    _, variants = read_variants(PARAMS, ["encoders.electra.head.n_filters=4"], model=None, grid=False)
    assert variants["head.n_filters=4"].encoders["electra"].head.options == {"n_filters": 4}
    _, variants = read_variants(PARAMS, ["baselines.tfidf.C=1.0"], model=None, grid=False)  # a name alone in the file
    assert variants["baselines.tfidf.C=1.0"].baselines["tfidf"].options == {"C": 1.0}


def test_edits_that_are_joined_are_one_variant() -> None:
    _, variants = read_variants(PARAMS, ["training.epochs=3 & encoders.bert.batch_size=4"], model=None, grid=False)
    settings = variants["training.epochs=3 & batch_size=4"].encoders["bert"]
    assert len(variants) == 2 and (settings.epochs, settings.batch_size) == (3, 4)


def test_a_grid_takes_at_most_one_value_of_each_key() -> None:
    edits = ["encoders.bert.epochs=2", "encoders.bert.epochs=3", "encoders.bert.loss=focal"]
    _, variants = read_variants(PARAMS, edits, model=None, grid=True)
    assert set(variants) == {
        AS_IS, "epochs=2", "epochs=3", "loss=focal", "epochs=2 & loss=focal", "epochs=3 & loss=focal",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("edits", "model"),
    [
        (["stitch.head_rows=noised"], "stitched"),
        (["baselines.tfidf.C=1"], "tfidf"),
        (["training.epochs=2"], "bert"),
        (["encoders.electra.epochs=2"], "electra"),
    ],
)
def test_what_is_compared_is_what_the_edits_name(edits: list[str], model: str) -> None:
    assert read_variants(PARAMS, edits, model=None, grid=False)[0] == model


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("encoders.bert.loss=focall", r"params.yaml:\d+ encoders.bert.loss: got 'focall'.*Did you mean 'focal'"),
        ("encoders.bert.los=focal", "encoders.bert.los: is not a known key.*Did you mean 'loss'"),
        ("baselines.tfidf.c=1", "baselines.tfidf: .*'c'"),
        ("encoders.brt.loss=focal", "encoders.brt"),
        ("traning.epochs=2", "traning.epochs=2: is no section.*Did you mean 'training'"),
        ("training.epochs.x=2", "training.epochs has no key 'x', got 1"),
        ("encoders.bert.epochs", "must be a key and its value"),
        ("encoders.bert.epochs=[1", "must have a value in YAML"),
        ("encoders.bert.epochs=1", "must change something of bert"),
        ("encoders.electra.epochs=2", "must change something of bert, .*set --model"),
        ("folds.n_splits=4", "cannot be compared out-of-fold, as other rows, folds or targets"),
        ("tasks.intent.metric=f1_macro", "cannot be compared out-of-fold"),
        ("seed=5", "Set --seeds"),
        ("stack.tune_decision=false", "it changes no model"),
        ("run.device=cuda", "it changes no model"),
    ],
)
def test_what_cannot_be_tried_is_told_with_its_reason(edit: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        read_variants(PARAMS, [edit], model="bert", grid=False)


def test_all_wrong_edits_are_told_together() -> None:
    with pytest.raises(ParamsError) as caught:
        read_variants(PARAMS, ["encoders.bert.epochs=0", "training.epochs=2", "folds={}"], model=None, grid=True)
    text = str(caught.value)
    assert "encoders.bert.epochs" in text and "folds={}" in text


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ParamsError, match="model: got 'brt'.*Did you mean 'bert'"):
        read_variants(PARAMS, ["training.epochs=2"], model="brt", grid=False)
