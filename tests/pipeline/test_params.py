"""params.yaml: every error at once, with key path, line and remedy; YAML 1.2; no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.exceptions import ParamsError
from pipeline.params import json_schema, load_params
from tests.conftest import PARAMS, ROOT


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    for name in ("train", "test", "sample_submission"):
        (folder / f"{name}.csv").touch()

    def write_and_load(text: str = PARAMS):
        Path("params.yaml").write_text(text, encoding="utf-8")
        return load_params()

    return write_and_load


def test_good_params_load_and_encoders_inherit_training(load) -> None:
    params = load()
    assert params.encoders["bert"].batch_size == params.training.batch_size == 16
    assert params.stitch.batch_size == 16
    assert params.encoders["bert"].pooling.name == "mean" and params.encoders["electra"].pooling is None
    assert params.members == ["bert", "electra", "bert+electra+cnn", "tfidf"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs: 1", "epohcs: 1", r"params.yaml:12 training.epohcs: is not a known key: .*Did you mean 'epochs'\?"),
        ("epochs: 1", "epochs: one", r"params.yaml:12 training.epochs: input should be a valid integer, got 'one'"),
        ("epochs: 1", "epochs: 0", r"training.epochs: input should be greater than or equal to 1, got 0"),
        ("epochs: 1", "loss: focall", r"training.loss: got 'focall', expected one of .*Did you mean 'focal'\?"),
        (
            "epochs: 1",
            "loss: {name: focal, gama: 2}",
            r"focal does not take this option: got 'gama'.*Did you mean 'gamma'\?",
        ),
        ("epochs: 1", "loss: {name: focal, gamma: two}", r"training.loss: gamma: .*got 'two'"),
        ("metric: accuracy", "metric: acuracy", r"params.yaml:6 tasks.intent.metric: got 'acuracy'.*'accuracy'"),
        ("train.csv", "trian.csv", r"tasks.intent.train: no such file: data/tiny/trian.csv. Put the competition's"),
        ("  bert:", "  be.rt:", r"encoders.be.rt: names must match \[a-z0-9_-\]\+"),
        ("competition: tiny", "", r"competition: is missing. Add it"),
        ("data/tiny/train.csv", "train.csv", r"tasks.intent.train: must lie in data/tiny/, which DVC watches"),
        ("data/tiny/test.csv", "data/tiny/../x.csv", r"tasks.intent.test: must lie in data/tiny/"),
        ("baselines: {tfidf", "baselines: {ensemble", r"baselines.ensemble: this name is taken"),
        ("n_splits: 2", "n_splits: 1", r"folds.n_splits: input should be greater than or equal to 2, got 1"),
        ("n_splits: 2", "n_splits: 2, n_splits: 3", r"is not valid YAML 1.2.*duplicate key"),
        ("{name: text_cnn, n_filters: 8}", "{name: text_cnn}\n    pooling: mean", r"text_cnn reads token states"),
        ("kind: multiclass", "kind: binary\n    labels: [a, b, c]", r"labels: a binary task has two labels, got 3"),
        ("stack: {", "stack: {members: [bert, brt], ", r"stack.members.1: got 'brt'.*Did you mean 'bert'\?"),
        ("stack: {", "stack: {members: [bert, bert], ", r"stack.members: names a member twice"),
        ("baselines: {tfidf", "baselines: {bert", r"baselines.bert: an encoder has this name too"),
        (
            "stitch: {",
            "stitch: {pairs: [[bert, brt]], ",
            r"params.yaml:\d+ stitch.pairs.0: got 'brt'.*Did you mean 'bert'\?",
        ),
        ("stitch: {", "stitch: {pairs: [[bert, bert]], ", r"stitch.pairs.0: must name different encoders"),
        ("stitch: {", "stitch: {pairs: [[bert]], ", r"stitch.pairs"),
        (
            "stitch: {",
            "stitch: {pairs: [[bert, electra], [electra, bert]], ",
            r"stitch.pairs.1: names .* a second time",
        ),
        ("stitch: {", "stitch: {pairs: {best: 2}, ", r"stitch.pairs.best: must be at most 1, the pairs of 2 encoders"),
        (
            "stitch: {",
            "stitch: {tokenizer: brt, ",
            r"stitch.tokenizer: must be best or an encoder of every pair, got brt",
        ),
        (
            "stitch: {",
            "stitch: {unfreeze: 1, ",
            r"stitch.unfreeze: layers that learn have no fixed states. Set features",
        ),
        (
            "base: finetuned",
            "head_rows: held_out",
            r"stitch.head_rows: held_out spares rows that base: pretrained has never",
        ),
        ("stitch: {", "stitch: {head_rows: held_out, ", r"stitch.head_rows: held_out takes the rows that .* spared"),
        ("stitch: {", "stitch: {epohcs: 2, ", r"stitch.epohcs: is not a known key: .*Did you mean 'epochs'\?"),
        ("{cnn: {name", "{c+n: {name", r"stitch.heads.c\+n: names must match"),
        ("submit: {}", "submit: {model: brt}", r"submit.model: got 'brt'.*Did you mean 'bert'\?"),
        ("    max_length: 24\n    head", "    precision: fp16\n    head", r"electra.precision: fp16 needs a GPU"),
        (
            "{name: from_config, architecture: bert",
            "{name: pretrained, hub_id: a/b",
            r"source: pretrained does not take this option",
        ),
    ],
)
def test_a_wrong_key_is_named_with_line_and_remedy(load, old: str, new: str, message: str) -> None:
    assert old in PARAMS
    with pytest.raises(ParamsError, match=f"(?s){message}"):
        load(PARAMS.replace(old, new, 1))


BERT = "{name: from_config, architecture: bert, vocab_size: 300, hidden_size: 16, n_layers: 1, n_heads: 2}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{name: pretrained, hub_id: a/b, revision: main}", r"revision: got 'main'. A branch can move: pin the 40-hex"),
        ("{name: pretrained, hub_id: a/b}", r"revision: got None. A branch can move"),
        ("{name: pretrained, path: elsewhere}", r"source.path: must lie in models/, which DVC watches"),
        ("{name: pretrained, path: models/none}", r"source.path: no such folder: models/none"),
        (
            "{name: pretrained, path: data, hub_id: a/b}",
            r"needs one of path, hub_id or package, got \['path', 'hub_id'\]",
        ),
    ],
)
def test_a_checkpoint_must_be_pinned_or_present(load, source: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        load(PARAMS.replace(BERT, source))


def test_all_errors_are_reported_together_and_an_inherited_one_once(load) -> None:
    wrong = (
        PARAMS.replace("epochs: 1", "epochs: 0")
        .replace("metric: accuracy", "metric: f1")
        .replace("{n_splits", "{n_splts")
    )
    with pytest.raises(ParamsError) as caught:
        load(wrong)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3, lines
    assert sorted(line.split(" ")[1] for line in lines) == [
        "folds.n_splts:",
        "tasks.intent.metric:",
        "training.epochs:",
    ]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            "{augmenter: {name: synonyms, lexicon: models/cilin.txt}}",
            "synonyms: lexicon: no such file: models/cilin.txt",
        ),
        ("{augmenter: {name: synonyms, lexicon: data/cilin.txt}}", "synonyms: lexicon must lie in models/"),
        ("{augmenter: {name: contextual, model: models/mlm}}", "contextual: model: .*no such folder: models/mlm"),
        ("{augmenter: {name: contextual, model: bert-base/x@main}}", "contextual: model: .*a branch can move"),
        ("{augmenter: sentence_shuffle, kept_ratio: 0.5}", "sentence_shuffle cannot spare single words"),
        ("{augmenter: keyboard, guide: {by: gradient}}", "guide: by: gradient needs a model"),
        ("{augmenter: keyboard, guide: {model: models/x}}", "guide: by: gradient needs a model, by: tfidf takes none"),
        ("{augmenter: keyboard, tasks: [intend]}", "tasks.0: got 'intend'.*Did you mean 'intent'"),
        ("{augmenter: keyboard, row_ratio: 2}", "row_ratio: input should be less than or equal to 1, got 2"),
    ],
)
def test_a_wrong_step_of_augmentation_is_named(load, step: str, message: str) -> None:
    with pytest.raises(ParamsError, match=rf"(?s)augment.steps.0.*{message}"):
        load(PARAMS.replace("augment: {}", f"augment: {{steps: [{step}]}}"))


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("{}", "give tasks.intent.unlabelled, or set augment.transductive.*variants of texts without labels"),
        ("{transductive: true}", "variants of texts without labels: add one of them to augment.steps"),
        ("{quality: {min_similarity: 0.5}}", "augment.quality: a range needs a similarity"),
        ("{quality: {similarity: edit, min_similarity: 0.5, max_similarity: 0.2}}", "must be at most max_similarity"),
    ],
)
def test_augmentation_that_contradicts_itself_is_refused(load, augment: str, message: str) -> None:
    text = PARAMS.replace("augment: {}", f"augment: {augment}").replace(
        "    max_length: 24\n", "    max_length: 24\n    objective: uda\n", 1
    )
    with pytest.raises(ParamsError, match=f"(?s){message}"):
        load(text)


@pytest.mark.parametrize(("written", "value"), [("1e-5", 1e-5), ("1E-5", 1e-5), ("0.00001", 1e-5), ("1", 1.0)])
def test_numbers_are_those_of_yaml_1_2(load, written: str, value: float) -> None:
    params = load(PARAMS.replace("learning_rate: 1e-3", f"learning_rate: {written}"))
    assert params.training.learning_rate == value


def test_no_and_yes_are_text(load) -> None:
    params = load(PARAMS.replace("kind: multiclass", "kind: binary\n    labels: [no, yes]"))
    assert params.tasks["intent"].labels == ["no", "yes"]


def test_a_missing_file_and_broken_yaml_say_what_to_do(load, tmp_path) -> None:
    with pytest.raises(ParamsError, match="no such file. Run from the repository's root"):
        load_params(tmp_path / "none.yaml")
    with pytest.raises(ParamsError, match="is not valid YAML"):
        load("a: [1\nb: 2")
    with pytest.raises(ParamsError, match="must be a mapping"):
        load("- 1")


def test_checking_params_imports_no_torch() -> None:
    modules = "pipeline.params, pipeline.recipes, pipeline.cli"
    code = f"import sys, {modules}; print(*(name in sys.modules for name in ('torch', 'pandas')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_schema_file_is_the_current_one() -> None:
    assert json.loads((ROOT / "docs" / "params.schema.json").read_text(encoding="utf-8")) == json_schema()


@pytest.mark.parametrize("path", sorted((ROOT / "competitions").glob("*/params.yaml")), ids=lambda p: p.parent.name)
def test_the_competitions_params_are_right_but_for_files_that_are_not_here(path: Path) -> None:
    try:
        load_params(path)
    except ParamsError as error:
        allowed = ("no such file", "no such folder")
        assert all(any(text in line for text in allowed) for line in str(error).splitlines()), error
