"""A stitched model leaves the project as one folder and says the same there as it did here."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from pipeline.artifacts.files import sha256_of, write_json
from pipeline.artifacts.paths import SCORES, predictions_path, stage_recipe_path
from pipeline.artifacts.predictions import probabilities_of, read_predictions
from pipeline.artifacts.table import read_folds, read_table, write_table
from pipeline.base_models.finetuning import finetune
from pipeline.bundle.export import choose, export
from pipeline.bundle.exported_model import _cleaned, load_exported
from pipeline.cli import app
from pipeline.contracts import DECIDED, PROBABILITY
from pipeline.data.class_targets import ClassTargets
from pipeline.data.preparing import prepare
from pipeline.errors.exceptions import DataError, MachineError, ParamsError
from pipeline.models.encoders import from_config
from pipeline.params.loading import load_params
from pipeline.params.root import Params
from pipeline.recipes.stage_recipes import encoder_recipe, stage_recipe
from pipeline.stitch.stitching import stitch
from tests.conftest import Project

MODEL, TASK = "bert+electra+cnn", "intent"


@pytest.fixture(scope="module")
def exported(finished: Project, tmp_path_factory) -> Path:
    """The export of all folds, outside of the project; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished.folder)
        return export(MODEL, TASK, params=load_params(), folder=tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture
def in_copy(finished: Project, tmp_path, monkeypatch) -> Iterator[Project]:
    """A copy of the finished project as the current folder."""
    project = finished.clone(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    yield project


def rows_of(project: Path) -> pd.DataFrame:
    return pd.read_csv(project / "data/tiny/test.csv", dtype=str, keep_default_na=False)


def stored(project: Path, model: str = MODEL, fold: int | None = None) -> np.ndarray:
    """Return the mean over folds of what the pipeline predicted for the test rows."""
    path = project / predictions_path("stitch", model, TASK)
    predictions = read_predictions(path, manifest=None)
    return probabilities_of(predictions, "test", rows_of(project)["id"].tolist(), fold=fold, kind=ClassTargets())


@pytest.mark.parametrize("fold", [None, 0, 1])
def test_raw_texts_get_the_mean_of_the_folds_probabilities_as_submitted(
    finished: Project, tmp_path, monkeypatch, fold: int | None
) -> None:
    monkeypatch.chdir(finished.folder)
    model = load_exported(export(MODEL, TASK, params=load_params(), folder=tmp_path / "model", fold=fold))
    texts = rows_of(finished.folder)["synthetic_text"].tolist()
    probabilities = model.predict_probabilities(texts)
    np.testing.assert_allclose(probabilities, stored(finished.folder, fold=fold), atol=1e-3)
    assert model.labels == read_table().labels[TASK]
    others = [stored(finished.folder, fold=other) for other in {None, 0, 1} - {fold}]
    for other in [*others, probabilities[::-1]]:
        assert np.abs(probabilities - other).max() > 5e-3, (
            "other folds or rows predict the same: this test compares nothing"
        )


def test_a_fresh_process_elsewhere_predicts_the_same(finished: Project, exported: Path, tmp_path) -> None:
    shutil.copytree(exported, tmp_path / "moved")
    rows = rows_of(finished.folder)
    rows.to_csv(tmp_path / "texts.csv", index=False)
    elsewhere = Project(tmp_path)
    names = ["--text-column", "synthetic_text", "--id-column", "id", "--output", "predicted.csv"]
    done = elsewhere.run("stitchfold", "predict", "--model", "moved", "--input", "texts.csv", *names)
    assert done.returncode == 0, done.stderr
    predicted = pd.read_csv(tmp_path / "predicted.csv", dtype={"id": str})
    model = load_exported(exported)
    probabilities = predicted[[f"probability:{label}" for label in model.labels]].to_numpy()
    np.testing.assert_allclose(probabilities, model.predict_probabilities(rows["synthetic_text"].tolist()), atol=1e-6)
    assert predicted["id"].tolist() == rows["id"].tolist()
    assert predicted["label"].tolist() == [model.labels[number] for number in probabilities.argmax(axis=1)]


def encoder_of(name: str) -> str:
    """Return the lines of a further encoder; `shared` is a checkpoint, the same in all folds."""
    if name == "words":
        return "  words: {source: {name: word_vectors, path: null, vector_size: 8, hidden_size: 8}, max_length: 24}\n"
    texts = ["the weather", "is fine"]
    parts = from_config.build(texts=texts, max_length=24, seed=0, vocab_size=100, hidden_size=16, n_layers=1, n_heads=2)
    for part in (parts.model, parts.tokenizer):
        part.save_pretrained("models/shared")
    return "  shared: {source: {name: pretrained, path: models/shared}, max_length: 24}\n"


def run_changed(project: Project, options: str, encoders: tuple[str, ...] = (), again: tuple[str, ...] = ()) -> Params:
    """Add encoders and options of `stitch` to params.yaml, and compute what they change."""
    lines = "".join(map(encoder_of, encoders))
    if "base" in options:
        project.edit("params.yaml", ", base: finetuned", "")
    project.edit("params.yaml", "stitch: {heads", f"{lines}stitch: {{{options}, heads")
    params, table, folds = load_params(), read_table(), read_folds()
    metrics = {task: settings.metric for task, settings in params.tasks.items()}
    for name in (*encoders, *again):
        finetune(
            name, table, folds, settings=params.encoders[name], recipe=encoder_recipe(params, name), metrics=metrics,
            seed=params.seed, run=params.run, folder=Path("out/finetune") / name,
        )  # fmt: skip
    recipe = stage_recipe(params, "stitch")
    write_json(stage_recipe_path("stitch"), recipe)
    stitch(params, table, folds, recipe=recipe, folder=Path("out/stitch"))
    return params


@pytest.mark.parametrize(
    ("model", "options", "encoders", "n_encoders", "n_folders"),
    [
        (MODEL, "unfreeze: 1, features: online, learning_rate: 0.02, head_learning_rate: 0.02", (), 4, 4),
        ("bert+shared+cnn", "pairs: [[bert, shared]], base: pretrained, alignment: first", ("shared",), 3, 3),
        ("words+bert+shared+cnn", "pairs: [[words, bert, shared]], layers: 0", ("words", "shared"), 6, 5),
    ],
)
def test_every_way_to_stitch_is_exported(
    in_copy: Project, tmp_path, model: str, options: str, encoders: tuple[str, ...], n_encoders: int, n_folders: int
) -> None:
    params = run_changed(in_copy, options, encoders)
    loaded = load_exported(export(model, TASK, params=params, folder=tmp_path / "model"))
    assert len(loaded.encoders) == n_encoders, "weights that folds share must stand once, others once per fold"
    assert len(list((tmp_path / "model/encoders").iterdir())) == n_folders, "so must tokenizers"
    probabilities = loaded.predict_probabilities(rows_of(in_copy.folder)["synthetic_text"].tolist())
    np.testing.assert_allclose(probabilities, stored(in_copy.folder, model), atol=1e-3)
    assert np.abs(probabilities - probabilities[::-1]).max() > 5e-3, (
        "all rows predict the same: this test compares nothing"
    )


def test_pairs_of_texts_encoders_chosen_by_each_fold_and_heads_on_spared_rows_are_exported(
    in_copy: Project, tmp_path
) -> None:
    in_copy.edit("params.yaml", "text: synthetic_text", "text: synthetic_text, text_pair: id")
    in_copy.edit("params.yaml", "training: {", "training: {epoch_selection: inner, inner_ratio: 0.3, ")
    write_table(prepare(load_params().tasks))
    options = "pairs: {best: 1}, head_rows: held_out, epoch_selection: last"
    params = run_changed(in_copy, options, again=("bert", "electra"))
    loaded = load_exported(export("best1+cnn", TASK, params=params, folder=tmp_path / "model"))
    rows = rows_of(in_copy.folder)
    probabilities = loaded.predict_probabilities(rows["synthetic_text"].tolist(), rows["id"].tolist())
    np.testing.assert_allclose(probabilities, stored(in_copy.folder, "best1+cnn"), atol=1e-3)
    with pytest.raises(DataError, match="text_pairs: the model was trained on pairs of texts. Give the second ones"):
        loaded.predict_probabilities(["fine"])
    with pytest.raises(DataError, match="text_pairs: must be as many as texts, 2, got 1"):
        loaded.predict_probabilities(["fine", "weather"], ["one"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("bert+elektra+cnn", TASK, None), r"got 'bert\+elektra\+cnn', .* Did you mean 'bert\+electra\+cnn'\?"),
        (
            ("bert", TASK, None),
            r"must be a stitched model, one of \['bert\+electra\+cnn'\], but 'bert' is an encoder, .*load",
        ),
        (("tfidf", TASK, None), r"one of \['bert\+electra\+cnn'\], but 'tfidf' is a baseline"),
        ((MODEL, "intend", None), "--task: got 'intend', .* Did you mean 'intent'"),
        ((MODEL, TASK, 2), r"--fold: must be one of \[0, 1\], got 2"),
    ],
    ids=["unknown", "encoder", "baseline", "task", "fold"],
)
def test_what_cannot_be_exported_is_said_with_what_can(
    finished: Project, tmp_path, monkeypatch, names: tuple[str, str, int | None], message: str
) -> None:
    monkeypatch.chdir(finished.folder)
    model, task, fold = names
    with pytest.raises(ParamsError, match=message):
        export(model, task, params=load_params(), folder=tmp_path / "model", fold=fold)
    assert not list(tmp_path.iterdir())


def test_the_command_exports_the_best_model_and_ends_with_2_on_an_unknown_one(in_copy: Project) -> None:
    run = CliRunner().invoke
    wrong = run(app, ["export", "--model", "bert+elektra+cnn"])
    assert wrong.exit_code == 2 and "Did you mean 'bert+electra+cnn'?" in wrong.stderr
    assert not Path("export").exists()
    assert run(app, ["export", "--fold", "1"]).exit_code == 0
    assert [fold["fold"] for fold in load_exported(Path(f"export/{MODEL}-f1")).description["folds"]] == [1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_length: 24", "max_length: 20"),
        ("stitch: {heads", "stitch: {layers: 0, heads"),
        ("n_filters: 4", "n_filters: 5"),
        ("seed: 7", "seed: 8"),
    ],
)
def test_params_changed_since_the_model_was_trained_are_refused(in_copy: Project, tmp_path, old: str, new: str) -> None:
    in_copy.edit("params.yaml", old, new)
    with pytest.raises(DataError, match=r"intent-r0-f0: was trained with other params.* Run dvc repro"):
        export(MODEL, TASK, params=load_params(), folder=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_encoders_trained_anew_since_are_refused(in_copy: Project, tmp_path) -> None:
    in_copy.edit("params.yaml", "learning_rate: 1e-3", "learning_rate: 1e-2")
    params, table, folds = load_params(), read_table(), read_folds()
    finetune(
        "electra", table, folds, settings=params.encoders["electra"], recipe=encoder_recipe(params, "electra"),
        metrics={TASK: params.tasks[TASK].metric}, seed=params.seed, run=params.run, folder=Path("out/finetune/electra"),
    )  # fmt: skip
    in_copy.edit("params.yaml", "learning_rate: 1e-2", "learning_rate: 1e-3")
    with pytest.raises(DataError, match="was trained with other .*encoders"):
        export(MODEL, TASK, params=load_params(), folder=tmp_path / "model")


def test_a_model_not_computed_yet_is_refused(in_copy: Project, tmp_path) -> None:
    in_copy.edit("params.yaml", "stitch: {heads: {", "stitch: {heads: {linear: linear, ")
    with pytest.raises(DataError, match="is not computed yet, .* Run dvc repro"):
        export("bert+electra+linear", TASK, params=load_params(), folder=tmp_path / "model")


@pytest.mark.parametrize("path", [f"stitch/{MODEL}", "finetune/electra"])
@pytest.mark.parametrize(("name", "message"), [("", "missing"), ("model.safetensors", "damaged")])
def test_a_missing_or_damaged_fold_is_named_and_nothing_is_written(
    in_copy: Project, path: str, name: str, message: str
) -> None:
    broken = Path("out") / path / "models/intent-r0-f1" / name
    if name:
        broken.unlink()
        broken.write_bytes(b"x")
    else:
        shutil.rmtree(broken)
    with pytest.raises(MachineError, match=rf"intent-r0-f1: .*({message}|match).* Run stitchfold doctor --fix"):
        export(MODEL, TASK, params=load_params(), folder=Path("export/model"))
    assert not Path("export").exists()


@pytest.mark.parametrize("step", ["save_model", "publish_folder"])
def test_a_full_disk_leaves_the_earlier_export_as_it_was(
    finished: Project, exported: Path, tmp_path, monkeypatch, step: str
) -> None:
    monkeypatch.chdir(finished.folder)
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"pipeline.bundle.export.{step}", full)
    with pytest.raises(MachineError, match="model: cannot be written: .*No space left"):
        export(MODEL, TASK, params=load_params(), folder=folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    load_exported(folder)


def test_only_its_own_earlier_export_is_replaced(finished: Project, exported: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(finished.folder)
    shutil.copytree(exported, tmp_path / "own")
    (tmp_path / "own/leftover.txt").write_text("from before")
    export(MODEL, TASK, params=load_params(), folder=tmp_path / "own")
    assert {path.name for path in tmp_path.iterdir()} == {"own"}
    assert not (tmp_path / "own/leftover.txt").exists()
    with pytest.raises(DataError, match=r"own: holds another export, .*'fold': None"):
        export(MODEL, TASK, params=load_params(), folder=tmp_path / "own", fold=0)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/export.json").write_text("{}")
    with pytest.raises(DataError, match="thesis: exists and is no export. Choose another --output"):
        export(MODEL, TASK, params=load_params(), folder=tmp_path / "thesis")
    assert (tmp_path / "thesis/export.json").read_text() == "{}"


def test_a_damaged_export_a_later_one_and_none_at_all_are_refused(exported: Path, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(DataError, match="does not match its manifest"):
        load_exported(folder)
    description = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps({**description, "version": 99}))
    with pytest.raises(DataError, match="must be of version 2, got 99"):
        load_exported(folder)
    with pytest.raises(DataError, match="is no export"):
        load_exported(tmp_path)


def forge(folder: Path, path: str, value) -> None:
    """Change a value of export.json, by its path, and make the manifest match."""
    description = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    node = description
    for part in way:
        node = node[part]
    node[last] = value
    (folder / "export.json").write_text(json.dumps(description), encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps({**manifest, "export.json": sha256_of(folder / "export.json")}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", "2", "version: .*got '2'"),
        ("version", True, "version: "),
        ("labels", ["a", "b"], "folds.0: must fit .*'n_outputs': 2"),
        ("labels", ["a", "a", "a", "a"], "labels: must differ"),
        ("labels", "abcd", "labels: .*valid list"),
        ("kind", ["no_such_kind", {}], "kind: must be a kind of task"),
        (
            "kind",
            ["multiclass", {"x": 1}],
            "export.json: is not in the form of an export: .*does not take this option: got 'x'",
        ),
        ("pairs", "no", "pairs: .*valid boolean"),
        ("folds", [], "folds: .*at least 1 item"),
        ("folds/0/encoders", [0, 9], "folds.0: must fit"),
        ("folds/0/encoders", [0], "folds.0: must fit .*'sizes': 1"),
        ("folds/0/stitch", {}, "folds.0: must fit"),
        ("folds/0/stitch/head", ["text_cnn", {"n_filters": 99}], "parts that do not fit together: .*size mismatch"),
        ("folds/0/stitch/head", 5, "parts that do not fit together"),
        ("folds/0/stitch/fusion", ["../../evil", {}], "parts that do not fit together"),
        ("encoders/0/folder", "../elsewhere", "encoders.0.folder: .*must lie within the export"),
        ("encoders/0/folder", "encoders/none", "parts that do not fit together: .*No such file"),
        ("encoders/0/max_length", -1, "encoders.0.max_length: .*greater than or equal to 1"),
        ("encoders/0/max_length", 10**6, "max_length: must be at most"),
        ("encoders/0/layers", "first", "encoders.0.layers"),
        ("encoders/0/note", "x", "encoders.0.note: .*not permitted"),
    ],
)
def test_an_export_whose_manifest_was_made_to_match_is_refused(exported: Path, tmp_path, path, value, message) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    forge(folder, path, value)
    with pytest.raises(DataError, match=f"(?s){message}.* Make it again: stitchfold export"):
        load_exported(folder)


def test_an_exported_model_of_several_labels_per_row_decides_each_label(exported: Path, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    forge(folder, "kind", ["multilabel", {"separator": "|"}])
    model = load_exported(folder)
    frame = model.predict_frame(["the kettle is wonderful", "今天很好"])
    probabilities = frame[[f"{PROBABILITY}{label}" for label in model.labels]].to_numpy()
    assert ((probabilities > 0) & (probabilities < 1)).all() and not np.allclose(probabilities.sum(axis=1), 1)
    decided = frame[[f"{DECIDED}{label}" for label in model.labels]].to_numpy() == "1"
    assert np.array_equal(decided, probabilities >= 0.5) and len(frame.columns) == 1 + 2 * len(model.labels)
    assert frame["label"].tolist() == ["|".join(np.array(model.labels)[row]) for row in decided]


@pytest.mark.parametrize("output", ["texts.csv", "./texts.csv", "link.csv", "model/export.json", "model/new.csv"])
def test_predictions_are_not_written_over_their_input_or_into_the_model(tmp_path, monkeypatch, output: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.csv").write_text("text\nfine\n", encoding="utf-8")
    Path("link.csv").symlink_to("texts.csv")
    names = ["--model", "model", "--input", "texts.csv", "--output", output]
    refused = CliRunner().invoke(app, ["predict", *names])
    assert refused.exit_code == 2 and "must be neither the input nor within the model" in refused.stderr
    assert Path("texts.csv").read_text(encoding="utf-8") == "text\nfine\n"


@pytest.mark.parametrize("manifest", ["{}", "[]", "null", '{"export.json": 5}', '{"../x": "' + "0" * 64 + '"}'])
def test_an_export_with_an_empty_or_odd_manifest_is_refused(exported: Path, tmp_path, manifest: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    (folder / "manifest.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(DataError, match="does not match its manifest"):
        load_exported(folder)


@pytest.mark.parametrize(
    ("texts", "text_pairs", "message"),
    [
        ("fine weather", None, "texts: must be a sequence of texts, got one text"),
        (["fine", None], None, "texts: must all be text, got None in row 1"),
        (["fine"], ["weather"], "text_pairs: the model was trained on single texts"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(exported: Path, texts, text_pairs, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_exported(exported).predict_probabilities(texts, text_pairs)


def test_texts_are_cleaned_as_the_files_are() -> None:
    assert _cleaned(["e\u0301\x00\r\n\ufeff", "\ud83d!", ""], "texts") == ["é\n", "\ufffd!", ""]


def test_rows_do_not_depend_on_their_company_nor_on_training_mode(exported: Path) -> None:
    model = load_exported(exported)
    texts = [
        "The weather is fine today",
        "",
        "half an emoji \ud83d",
        "今天天气不好",
        "A long text about the weather of tomorrow, which is bad",
    ]
    together = model.train().predict_probabilities(texts)
    alone = [model.predict_probabilities([text], tokens_per_batch=1)[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1)
    assert model.predict_probabilities([]).shape == (0, 4)


def test_loading_draws_nothing_from_the_global_generator(exported: Path) -> None:
    before = torch.manual_seed(123).get_state()
    load_exported(exported)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("higher_is_better", "best"), [(True, "a+b+x"), (False, "a+b+y")])
def test_the_best_stitched_model_is_taken_unless_named(
    finished: Project, tmp_path, monkeypatch, higher_is_better: bool, best: str
) -> None:
    monkeypatch.chdir(finished.folder)
    params = load_params()
    monkeypatch.chdir(tmp_path)
    kinds = {"a": ("encoder", 9.0), "a+b+x": ("stitched", 0.7), "a+b+y": ("stitched", 0.6), "a+b+z": ("stitched", None)}
    models = [{"name": name, "kind": kind, "score": score} for name, (kind, score) in kinds.items()]
    scores = {"tasks": {TASK: {"higher_is_better": higher_is_better, "models": models}}}
    write_json(SCORES, scores)
    assert choose(None, None, params) == (best, TASK)
    assert choose("a+b+z", TASK, params) == ("a+b+z", TASK)
