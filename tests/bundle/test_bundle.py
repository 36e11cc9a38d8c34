"""A model, or all of them, leaves the project as one folder and says the same there as it did here."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from pipeline.artifacts.files import read_json, sha256_of, write_json
from pipeline.artifacts.paths import ensemble_path, left_out_path, predictions_path, stage_recipe_path
from pipeline.artifacts.predictions import probabilities_of, read_predictions
from pipeline.artifacts.table import read_folds, read_table, write_table
from pipeline.base_models.finetuning import finetune
from pipeline.bundle.bundle import bundle
from pipeline.bundle.predictor import ASSETS, _cleaned, load_bundle
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
from tests.conftest import ROOT, Project, make_project
from tests.small import checkpoint

MODEL, TASK = "bert+electra+cnn", "intent"
BUNDLE = f"{ASSETS}/bundle.json"


def made(model: str, folder: Path, *, params: Params | None = None, **options) -> Path:
    """Bundle a model of the current folder, unrehearsed unless asked for, and return the folder."""
    bundle(
        params or load_params(),
        model=model,
        task=options.pop("task", TASK),
        folder=folder,
        **{"check_rows": 0, **options},
    )
    return folder


@pytest.fixture(scope="module")
def bundled(finished: Project, tmp_path_factory) -> Path:
    """The export of all folds, outside of the project; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished.folder)
        return made(MODEL, tmp_path_factory.mktemp("bundled") / "model")


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
    model = load_bundle(made(MODEL, tmp_path / "model", fold=fold))
    texts = rows_of(finished.folder)["synthetic_text"].tolist()
    probabilities = model.predict_probabilities(texts)
    np.testing.assert_allclose(probabilities, stored(finished.folder, fold=fold), atol=1e-3)
    assert model.labels == read_table().labels[TASK]
    others = [stored(finished.folder, fold=other) for other in {None, 0, 1} - {fold}]
    for other in [*others, probabilities[::-1]]:
        assert np.abs(probabilities - other).max() > 5e-3, (
            "other folds or rows predict the same: this test compares nothing"
        )


def test_a_fresh_process_elsewhere_predicts_the_same(finished: Project, bundled: Path, tmp_path) -> None:
    shutil.copytree(bundled, tmp_path / "moved")
    rows = rows_of(finished.folder)
    rows.to_csv(tmp_path / "texts.csv", index=False)
    elsewhere = Project(tmp_path)
    names = ["--text-column", "synthetic_text", "--id-column", "id", "--output", "predicted.csv"]
    done = elsewhere.run(
        "stitchfold", "predict", "--model", "moved", "--input", "texts.csv", *names, PYTHONPATH=str(ROOT)
    )
    assert done.returncode == 0, done.stderr
    predicted = pd.read_csv(tmp_path / "predicted.csv", dtype={"id": str})
    model = load_bundle(bundled)
    probabilities = predicted[[f"probability:{label}" for label in model.labels]].to_numpy()
    np.testing.assert_allclose(probabilities, model.predict_probabilities(rows["synthetic_text"].tolist()), atol=1e-6)
    assert predicted["id"].tolist() == rows["id"].tolist()
    assert predicted["label"].tolist() == [model.labels[number] for number in probabilities.argmax(axis=1)]


def encoder_of(name: str) -> str:
    """Return the lines of a further encoder; `shared` is a checkpoint, the same in all folds."""
    if name == "words":
        return "  words: {source: {name: word_vectors, path: null, vector_size: 8, hidden_size: 8}, max_length: 24}\n"
    if name == "adapted":
        checkpoint(Path("models/qwen"))
        source = "source: {name: pretrained, path: models/qwen, weights: nf4}, adapter: lora, pooling: last_token"
        return f"  adapted: {{{source}, max_length: 24, learning_rate: 0.02}}\n"
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
        ("adapted+bert+cnn", "pairs: [[adapted, bert]], tokenizer: adapted", ("adapted",), 4, 3),
    ],
)
def test_every_way_to_stitch_is_bundled(
    in_copy: Project, tmp_path, model: str, options: str, encoders: tuple[str, ...], n_encoders: int, n_folders: int
) -> None:
    params = run_changed(in_copy, options, encoders)
    loaded = load_bundle(made(model, tmp_path / "model", params=params, check_rows=2 * ("words" in model)))
    assert len(loaded.description["encoders"]) == n_encoders, (
        "weights that folds share must stand once, others once per fold"
    )
    assert len(list((tmp_path / "model" / ASSETS / "encoders").iterdir())) == n_folders, "so must tokenizers"
    probabilities = loaded.predict_probabilities(rows_of(in_copy.folder)["synthetic_text"].tolist())
    np.testing.assert_allclose(probabilities, stored(in_copy.folder, model), atol=1e-3)
    if "words" in model:  # this one predicted some rows by itself, and tells what it imported
        needed = {line.partition("==")[0] for line in (tmp_path / "model/requirements.txt").read_text().splitlines()}
        assert {"torch", "transformers", "numpy", "pandas"} <= needed and not needed & {
            "scikit-learn",
            "jieba",
            "opencc",
        }
    assert np.abs(probabilities - probabilities[::-1]).max() > 5e-3, (
        "all rows predict the same: this test compares nothing"
    )


def test_pairs_of_texts_encoders_chosen_by_each_fold_and_heads_on_spared_rows_are_bundled(
    in_copy: Project, tmp_path
) -> None:
    in_copy.edit("params.yaml", "text: synthetic_text", "text: synthetic_text, text_pair: id")
    in_copy.edit("params.yaml", "training: {", "training: {epoch_selection: inner, inner_ratio: 0.3, ")
    write_table(prepare(load_params().tasks))
    options = "pairs: {best: 1}, head_rows: held_out, epoch_selection: last"
    params = run_changed(in_copy, options, again=("bert", "electra"))
    loaded = load_bundle(made("best1+cnn", tmp_path / "model", params=params))
    rows = rows_of(in_copy.folder)
    probabilities = loaded.predict_probabilities(rows["synthetic_text"].tolist(), rows["id"].tolist())
    np.testing.assert_allclose(probabilities, stored(in_copy.folder, "best1+cnn"), atol=1e-3)
    with pytest.raises(DataError, match="text_pairs: the model was trained on pairs of texts. Give the second ones"):
        loaded.predict_probabilities(["fine"])
    with pytest.raises(DataError, match="text_pairs: must be as many as texts, 2, got 1"):
        loaded.predict_probabilities(["fine", "weather"], ["one"])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"model": "bert+elektra+cnn"}, r"--model: got 'bert\+elektra\+cnn', .* Did you mean 'bert\+electra\+cnn'\?"),
        ({"task": "intend"}, "--task: got 'intend', .* Did you mean 'intent'"),
        ({"fold": 2}, r"--fold: must be one of \[0, 1\], got 2"),
        ({"model": "ensemble", "fold": 1}, "--fold: is for a single model, got 1 with the ensemble"),
        ({"without": ["bert"]}, "--without: is for the ensemble, got it with --model bert"),
        ({"model": "ensemble", "without": ["brt"]}, "--without: got 'brt', .* Did you mean 'bert'"),
        ({"model": "ensemble", "without": ["bert", "electra", MODEL, "tfidf"]}, "--without: must leave a member"),
    ],
)
def test_what_cannot_be_bundled_is_said_with_what_can(
    finished: Project, tmp_path, monkeypatch, chosen: dict, message: str
) -> None:
    monkeypatch.chdir(finished.folder)
    with pytest.raises(ParamsError, match=message):
        made(chosen.pop("model", MODEL), tmp_path / "model", **chosen)
    assert not list(tmp_path.iterdir())


def test_the_command_bundles_a_model_and_ends_with_2_on_an_unknown_one(in_copy: Project) -> None:
    run = CliRunner().invoke
    wrong = run(app, ["bundle", "--model", "bert+elektra+cnn"])
    assert wrong.exit_code == 2 and "Did you mean 'bert+electra+cnn'?" in wrong.stderr
    assert not Path("bundles").exists()
    done = run(app, ["bundle", "--model", MODEL, "--fold", "1", "--check-rows", "0"])
    assert done.exit_code == 0, done.output
    assert [fold["fold"] for fold in load_bundle(Path(f"bundles/{MODEL}-f1")).description["members"][0]["folds"]] == [1]


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
        made(MODEL, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_members_made_with_other_params_and_an_ensemble_of_others_are_refused(in_copy: Project, tmp_path) -> None:
    def refused(model: str, message: str) -> None:
        with pytest.raises(DataError, match=f"(?s){message}.* Run dvc repro"):
            made(model, tmp_path / "bundle")

    kept = Path("params.yaml").read_text(encoding="utf-8")
    in_copy.edit("params.yaml", "max_length: 24", "max_length: 20")
    refused("bert", "finetune/bert: was trained with other params")
    Path("params.yaml").write_text(kept, encoding="utf-8")
    in_copy.edit("params.yaml", "tfidf: tfidf_logistic", "tfidf: {name: tfidf_logistic, C: 0.01}")
    refused("tfidf", "tfidf/intent.parquet: was trained with other params")
    Path("params.yaml").write_text(kept, encoding="utf-8")
    state = read_json(ensemble_path(TASK))
    write_json(ensemble_path(TASK), state | {"decision": {"used": True, "scales": [9.0, 1.0, 1.0, 1.0]}})
    refused("ensemble", "intent.json: was fitted on other predictions")
    write_json(ensemble_path(TASK), state | {"members": ["bert"]})
    refused("ensemble", "must stack .*'electra'.*, got \\['bert'\\]")
    shutil.rmtree("out/finetune/electra/models/intent-r0-f1")
    with pytest.raises(MachineError, match="intent-r0-f1: the fold's model is missing. Run stitchfold doctor --fix"):
        made("electra", tmp_path / "bundle")
    Path("out/finetune/bert/intent.parquet").unlink()
    refused("bert", "the model is not computed yet")
    assert not list(tmp_path.glob("*bundle*"))


def test_encoders_trained_anew_since_are_refused(in_copy: Project, tmp_path) -> None:
    in_copy.edit("params.yaml", "learning_rate: 1e-3", "learning_rate: 1e-2")
    params, table, folds = load_params(), read_table(), read_folds()
    finetune(
        "electra", table, folds, settings=params.encoders["electra"], recipe=encoder_recipe(params, "electra"),
        metrics={TASK: params.tasks[TASK].metric}, seed=params.seed, run=params.run, folder=Path("out/finetune/electra"),
    )  # fmt: skip
    in_copy.edit("params.yaml", "learning_rate: 1e-2", "learning_rate: 1e-3")
    with pytest.raises(DataError, match="was trained with other .*encoders"):
        made(MODEL, tmp_path / "model")


def test_a_model_not_computed_yet_is_refused(in_copy: Project, tmp_path) -> None:
    in_copy.edit("params.yaml", "stitch: {heads: {", "stitch: {heads: {linear: linear, ")
    with pytest.raises(DataError, match="is not computed yet. Run dvc repro"):
        made("bert+electra+linear", tmp_path / "model")


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
        made(MODEL, Path("bundles/model"))
    assert not Path("bundles").exists()


@pytest.mark.parametrize("step", ["weights.save_file", "bundle.publish_folder"])
def test_a_full_disk_leaves_the_earlier_bundle_as_it_was(
    finished: Project, bundled: Path, tmp_path, monkeypatch, step: str
) -> None:
    monkeypatch.chdir(finished.folder)
    folder = tmp_path / "model"
    shutil.copytree(bundled, folder)

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"pipeline.bundle.{step}", full)
    with pytest.raises(MachineError, match="model: cannot be written: .*No space left"):
        made(MODEL, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    load_bundle(folder)


def test_only_its_own_earlier_bundle_is_replaced(finished: Project, bundled: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(finished.folder)
    shutil.copytree(bundled, tmp_path / "own")
    (tmp_path / "own/leftover.txt").write_text("from before")
    made(MODEL, tmp_path / "own")
    assert {path.name for path in tmp_path.iterdir()} == {"own"}
    assert not (tmp_path / "own/leftover.txt").exists()
    with pytest.raises(DataError, match=r"own: holds another bundle, .*'fold': None"):
        made(MODEL, tmp_path / "own", fold=0)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/bundle.json").write_text("{}")
    with pytest.raises(DataError, match="thesis: exists and is no bundle. Choose another --output"):
        made(MODEL, tmp_path / "thesis")
    assert (tmp_path / "thesis/bundle.json").read_text() == "{}"


def test_a_damaged_bundle_a_later_one_and_none_at_all_are_refused(bundled: Path, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundled, folder)
    file = folder / ASSETS / "weights/000.safetensors"
    weights = bytearray(file.read_bytes())
    weights[-1] ^= 1
    file.write_bytes(weights)
    with pytest.raises(DataError, match="does not match its manifest"):
        load_bundle(folder)
    description = json.loads((folder / BUNDLE).read_text())
    (folder / BUNDLE).write_text(json.dumps({**description, "version": 99}))
    with pytest.raises(DataError, match="must be of version 1, got 99"):
        load_bundle(folder)
    with pytest.raises(DataError, match="is no bundle"):
        load_bundle(tmp_path)


def forge(folder: Path, path: str, value) -> None:
    """Change a value of export.json, by its path, and make the manifest match."""
    description = json.loads((folder / BUNDLE).read_text(encoding="utf-8"))
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    node = description
    for part in way:
        node = node[part]
    node[last] = value
    (folder / BUNDLE).write_text(json.dumps(description), encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps({**manifest, BUNDLE: sha256_of(folder / BUNDLE)}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", "1", "must be of version 1, got '1'"),
        ("labels", ["a", "b"], "labels must be those of 4 values"),
        ("kind", ["no_such_kind", {}], "parts that do not fit together: .*no_such_kind"),
        ("members/0/folds/0/spec", {}, "parts that do not fit together"),
        ("members/0/folds/0/spec/head", ["text_cnn", {"n_filters": 99}], "do not fit together: .*size mismatch"),
        ("members/0/folds/0/spec/fusion", ["../../evil", {}], "parts that do not fit together"),
        ("members/0/folds/0/encoders", [0, 9], "parts that do not fit together"),
        ("encoders/0/folder", "../elsewhere", "must lie within the bundle"),
        ("encoders/0/folder", "encoders/none", "parts that do not fit together"),
        ("encoders/0/settings/max_length", 10**6, "max_length: must be at most"),
        ("encoders/0/source", "os", "parts that do not fit together"),
    ],
)
def test_a_bundle_whose_manifest_was_made_to_match_is_refused(bundled: Path, tmp_path, path, value, message) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundled, folder)
    forge(folder, path, value)
    with pytest.raises(DataError, match=f"(?s){message}.* Make it again: stitchfold bundle"):
        load_bundle(folder).predict_probabilities(["fine"])


def test_a_bundled_model_of_several_labels_per_row_decides_each_label(bundled: Path, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundled, folder)
    forge(folder, "kind", ["multilabel", {"separator": "|"}])
    model = load_bundle(folder)
    frame = model.predict_frame(["the kettle is wonderful", "今天很好"])
    probabilities = frame[[f"{PROBABILITY}{label}" for label in model.labels]].to_numpy()
    assert ((probabilities > 0) & (probabilities < 1)).all() and not np.allclose(probabilities.sum(axis=1), 1)
    decided = frame[[f"{DECIDED}{label}" for label in model.labels]].to_numpy() == "1"
    assert np.array_equal(decided, probabilities >= 0.5) and len(frame.columns) == 1 + 2 * len(model.labels)
    assert frame["label"].tolist() == ["|".join(np.array(model.labels)[row]) for row in decided]


@pytest.mark.parametrize("output", ["texts.csv", "./texts.csv", "link.csv", "model/manifest.json", "model/new.csv"])
def test_predictions_are_not_written_over_their_input_or_into_the_model(tmp_path, monkeypatch, output: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.csv").write_text("text\nfine\n", encoding="utf-8")
    Path("link.csv").symlink_to("texts.csv")
    names = ["--model", "model", "--input", "texts.csv", "--output", output]
    refused = CliRunner().invoke(app, ["predict", *names])
    assert refused.exit_code == 2 and "must be neither the input nor within the model" in refused.stderr
    assert Path("texts.csv").read_text(encoding="utf-8") == "text\nfine\n"


@pytest.mark.parametrize("manifest", ["{}", "[]", "null", '{"predict.py": 5}', '{"../x": "' + "0" * 64 + '"}'])
def test_a_bundle_with_an_empty_or_odd_manifest_is_refused(bundled: Path, tmp_path, manifest: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundled, folder)
    (folder / "manifest.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(DataError, match="does not match its manifest"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("texts", "text_pairs", "message"),
    [
        ("fine weather", None, "texts: must be a sequence of texts, got one text"),
        (["fine", None], None, "texts: must all be text, got None in row 1"),
        (["fine"], ["weather"], "text_pairs: the model was trained on single texts"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(bundled: Path, texts, text_pairs, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_bundle(bundled).predict_probabilities(texts, text_pairs)


def test_texts_are_cleaned_as_the_files_are() -> None:
    assert _cleaned(["e\u0301\x00\r\n\ufeff", "\ud83d!", ""], "texts") == ["é\n", "\ufffd!", ""]


def test_rows_do_not_depend_on_their_company(bundled: Path) -> None:
    model = load_bundle(bundled)
    texts = [
        "The weather is fine today",
        "",
        "half an emoji \ud83d",
        "今天天气不好",
        "A long text about the weather of tomorrow, which is bad",
    ]
    together = model.predict_probabilities(texts)
    alone = [model.predict_probabilities([text], tokens_per_batch=1)[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1)
    assert model.predict_probabilities([]).shape == (0, 4)


def test_loading_draws_nothing_from_the_global_generator(bundled: Path) -> None:
    before = torch.manual_seed(123).get_state()
    load_bundle(bundled)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_a_time_budget_left_out_is_no_model_of_a_bundle(in_copy: Project, tmp_path) -> None:
    note = {"model": "electra", "kept": "", "budget_hours": 1.0, "hours_needed": 2.0, "is_known": True}
    write_json(left_out_path("finetune", "electra"), [note])
    for model in ("electra", MODEL):
        with pytest.raises(
            ParamsError, match=f"--model: got '{re.escape(model)}', expected one of .'bert', 'ensemble', 'tfidf'."
        ):
            made(model, tmp_path / "model")


@pytest.mark.slow
def test_templates_budgets_and_both_orders_of_pairs_go_along(tmp_path, monkeypatch) -> None:
    """A bundle of such models submits, of the raw test file, the very bytes that the pipeline did."""
    project = make_project(tmp_path / "project")
    text = '"{id} [SEP] {synthetic_text}"'
    columns = f"text: {text}, text_pair: {text}, label: label, swap: true}}"
    project.edit("params.yaml", "text: synthetic_text, label: label}", columns)
    project.edit("params.yaml", "max_length: 24", "max_length: 24\n    field_budgets: {id: 3}")
    project.repro("submit")
    monkeypatch.chdir(project.folder)
    made("ensemble", tmp_path / "bundle", check_rows=4)  # refused where it predicts something else
    output = tmp_path / "submission.csv"
    command = ["-I", str(tmp_path / "bundle/predict.py"), "--input", "data/tiny/test.csv", "--output", str(output)]
    command += ["--sample", "data/tiny/sample_submission.csv"]
    done = project.run(sys.executable, *command)
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == project.submission()
