"""params.yaml: every error at once, with key path, line and remedy; YAML 1.2; no torch."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline import components
from pipeline.errors.exceptions import CODES, ParamsError
from pipeline.params.encoders import TaskBatches, Training
from pipeline.params.fields import Section
from pipeline.params.loading import load_params
from pipeline.params.root import json_schema
from pipeline.params.training_checks import check_training
from tests.conftest import PARAMS, ROOT

FILE = "data/tiny/test.csv"
TEST = f"test: {FILE}"


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
        (
            "epochs: 1",
            "epochs: one",
            r"params.yaml:12 training.epochs: must be a valid integer, got 'one'. Correct it, or remove it for the "
            r"default \(3\)",
        ),
        ("epochs: 1", "warmup_steps: -1", "warmup_steps: must be greater than or equal to 0, got -1"),
        ("device: cpu}", "budget_hours: 0}", "run.budget_hours: must be greater than 0, got 0"),
        ("device: cpu}", "budget_hours: -1}", "run.budget_hours: must be greater than 0, got -1"),
        ("device: cpu}", "budget_hours: .nan}", "run.budget_hours: must be a finite number, got nan"),
        ("device: cpu}", "budget_hours: a night}", "run.budget_hours: must be a valid number, got 'a night'"),
        (
            "epochs: 1",
            "loss: {name: poly, epsilon: -2}",
            "epsilon: must be greater than or equal to -1, got -2",
        ),
        (
            "epochs: 1",
            "loss: logit_squeezing",
            "loss: logit_squeezing is a penalty: nothing learns from it alone. Put it",
        ),
        (
            "epochs: 1",
            "loss: {name: weighted_sum, losses: [focl]}",
            "losses: got 'focl', expected.*Did you mean 'focal'",
        ),
        (
            "epochs: 1",
            "optimizer: schedule_free",
            "schedule: schedule_free averages in the place of a falling rate. Set sch",
        ),
        ("epochs: 1", "averaging: greedy_soup", "averaging: greedy_soup chooses by scores.*Set epoch_selection: inner"),
        (
            "epochs: 1",
            "averaging: ema, optimizer: schedule_free, schedule: constant_with_warmup",
            "averaging: schedule_free gives an average by itself. Remove one of them",
        ),
        (
            "epochs: 1",
            "adversarial: {name: fgm, epsilon: 0}",
            r"training.adversarial: epsilon: must be greater than 0, got 0. Correct it",
        ),
        (
            "epochs: 1",
            "epochs: 1, adversarial: fgm, adversarial_start_epoch: 1",
            r"adversarial_start_epoch: must be below epochs, 1, got 1. Lower it",
        ),
        (
            "source: {name: from_config, architecture: electra, vocab_size: 300, hidden_size: 16, n_layers: 1, n_heads: 2}",
            "source: {name: word_vectors, tune: false}\n    adversarial: pgd",
            r"encoders.electra.adversarial: pgd moves the weights of the token embeddings, but source freezes them. Let",
        ),
        (
            "max_length: 24\n  electra",
            "max_length: 24\n    window: 24\n  electra",
            r"encoders.bert.window: must be below max_length, 24, which is what all windows read of a text, got 24. Raise",
        ),
        (
            "max_length: 24\n  electra",
            "max_length: 64\n    window: 24\n  electra",
            r"stitch.pairs: bert reads windows, whose tokens cannot be aligned with another's. List pairs without it",
        ),
        (
            "max_length: 24\n  electra",
            "max_length: 24\n    window_pooling: max\n  electra",
            r"encoders.bert: window_pooling: is for windows under a head that reads a vector. Remove it, or set window",
        ),
        (
            "stitch: {",
            "stitch: {objective: mixup, ",
            r"stitch.objective: mixup needs an encoder that learns. Take r_drop or supervised.",
        ),
        ("epochs: 1", "precision: fp8", r"precision: must be 'auto', 'fp32', 'bf16' or 'fp16', got 'fp8'"),
        ("training: {epochs", "training: [{epochs", r"is not valid YAML 1.2"),
        (
            "text: synthetic_text, label: label",
            "text: a, label: a",
            r"columns.label: a text must not be the label, got 'a'",
        ),
        (
            "text: synthetic_text",
            'text: "{title [SEP] {body}"',
            r"params.yaml:9 tasks.intent.columns.text: every brace must be closed, got '\{title \[SEP\] \{body\}'. Close it",
        ),
        (
            "text: synthetic_text",
            'text: "title [SEP] body"',
            r"columns.text: a template must name columns in braces, got only constants: 'title \[SEP\] body'. Name them",
        ),
        (
            "text: synthetic_text",
            'text: a, text_pair: "{b} {b}"',
            r"text_pair: must name each column once, got 'b' again",
        ),
        (
            "text: synthetic_text",
            'text: "{a} [SEP] {label}"',
            r"columns.label: a text must not be the label, got 'label' for both. Correct one",
        ),
        (
            "label: label}",
            'label: label}\n    test_columns: {text: "{a} [SEP] {b}"}',
            r"tasks.intent.test_columns.text: must have the fields of columns.text, 1, got 2. Name as many columns",
        ),
        (
            "label: label}",
            "label: label, swap: true}",
            r"params.yaml:9 tasks.intent.columns.swap: needs pairs, got no text_pair. Name the second text's",
        ),
        (
            "text: synthetic_text",
            'text: "{a} [SEP] {b}", text_pair: c, swap: true',
            r"columns.swap: needs two texts of as many fields each, got \[\['a', 'b'\], \['c'\]\]. Correct a template, or",
        ),
        (
            "max_length: 24\n  electra",
            "max_length: 24\n    chat_template: true\n  electra",
            r"bert.chat_template: needs a tokenizer that comes with one, got source from_config. Take pretrained, or remove",
        ),
        (
            "max_length: 24\n  electra",
            "max_length: 24\n    field_budgets: {synthetic_txt: 0.2}\n  electra",
            r"bert.field_budgets.synthetic_txt: got 'synthetic_txt', expected one of .*Did you mean 'synthetic_text'",
        ),
        (
            "max_length: 24\n  electra",
            "max_length: 24\n    field_budgets: {synthetic_text: 1.5}\n  electra",
            r"bert.field_budgets.synthetic_text: .* got 1.5",
        ),
        (
            "kind: multiclass",
            "kind: multiclass\n    encoding: utf9",
            r"encoding: must be a name of .*codecs.*, got 'utf9'",
        ),
        ("submission: {", "submission: {sample_form: {encoding: utf9}, ", r"sample_form.encoding: must be a name of"),
        ("kind: multiclass", 'kind: multiclass\n    separator: ";;"', r"tasks.intent.separator: .*got ';;'"),
        (
            "kind: multiclass",
            "kind: multiclass\n    separator: '|'\n    escape: '|'",
            r"escape: must be another character than the separator, got '\|'",
        ),
        (
            "kind: multiclass",
            "kind: multiclass\n    labels: [a, b, a]",
            r"labels: each label must stand once, got \['a', 'b'",
        ),
        (
            "submission: {",
            "submission: {scored_ratio: 30, ",
            r"submission.scored_ratio: must be less than or equal to 1, got 30. Correct it, .* \(1.0\)",
        ),
        ("submission: {", "submission: {scored_ratio: 0, ", r"submission.scored_ratio: must be greater than 0, got 0"),
        ("epochs: 1", "epochs: 0", r"training.epochs: must be greater than or equal to 1, got 0"),
        ("epochs: 1", "loss: focall", r"training.loss: got 'focall', expected one of .*Did you mean 'focal'\?"),
        (
            "epochs: 1",
            "loss: {name: focal, gama: 2}",
            r"focal does not take this option: got 'gama'.*Did you mean 'gamma'\?",
        ),
        ("epochs: 1", "loss: {name: focal, gamma: two}", r"training.loss: gamma: .*got 'two'"),
        ("metric: accuracy", "metric: acuracy", r"params.yaml:6 tasks.intent.metric: got 'acuracy'.*'accuracy'"),
        ("train.csv", "trian.csv", r"tasks.intent.train: no such file: data/tiny/trian.csv. Put the competition's"),
        ("  bert:", "  be.rt:", r"encoders.be.rt: names must be text that matches \[a-z0-9_-\]\+"),
        ("competition: tiny", "", r"competition: is missing. Add it"),
        (
            TEST,
            "",
            r"params.yaml:4 tasks.intent: must have a test file, got none. Name it in test, or set submit: false",
        ),
        (TEST, "submit: false", r"params.yaml:3 tasks: must have a task that is submitted, got auxiliary ones alone"),
        (TEST, "test: {}", r"params.yaml:4 tasks.intent: must have a test file, got none"),
        (TEST, "test: [data/tiny/test.csv]", r"tasks.intent.test: must be a valid string or a mapping, got \['data"),
        (TEST, f"test: {{a: {FILE}, b: data/tiny/./test.csv}}", f"test must name each file once, got {FILE} twice. Re"),
        (TEST, f"test: {{a/b: {FILE}}}", r"tasks.intent.test.a/b: names must be text that matches \[a-z0-9_-\]\+"),
        (TEST, f"test: {{1: {FILE}}}", r"tasks.intent.test.1: names must be text that matches .* got 1. Rename it"),
        (
            TEST,
            "test: {a: data/tiny/x.csv}",
            r"tasks.intent.test.a: no such file: data/tiny/x.csv. Put the competition's",
        ),
        (TEST, f"test: {{a: ../{FILE}}}", r"tasks.intent.test.a: must lie in data/tiny/, which DVC watches"),
        (
            "sample: data/tiny/sample_submission.csv",
            f"sample: {{a: {FILE}}}",
            r"submission.sample must have names of test, one file without a name, got \['a'",
        ),
        (
            "sample: data/tiny/sample_submission.csv",
            "sample: {a: data/tiny/no.csv}",
            r"params.yaml:10 tasks.intent.submission.sample.a: no such file: data/tiny/no.csv",
        ),
        ("data/tiny/train.csv", "train.csv", r"tasks.intent.train: must lie in data/tiny/, which DVC watches"),
        ("data/tiny/test.csv", "data/tiny/../x.csv", r"tasks.intent.test: must lie in data/tiny/"),
        ("baselines: {tfidf", "baselines: {ensemble", r"baselines.ensemble: this name is taken"),
        ("n_splits: 2", "n_splits: 1", r"folds.n_splits: must be greater than or equal to 2, got 1"),
        ("n_splits: 2", "n_splits: 2, n_splits: 3", r"params.yaml:11: is not valid YAML 1.2.*duplicate key"),
        ("{name: text_cnn, n_filters: 8}", "{name: text_cnn}\n    pooling: mean", r"text_cnn reads token states"),
        ("kind: multiclass", "kind: binary\n    labels: [a, b, c]", r"labels: a binary task has 2 labels, got 3"),
        (
            "kind: multiclass",
            "kind: multiclass\n    report_metrics: [accuracy, f1_binary]",
            "report_metrics.1: f1_binary is for 2",
        ),
        (
            "ladder: [mean, logistic]",
            "ladder: [mean, {name: lightgbm, n_rounds: 0}]",
            "stack.ladder.1: n_rounds: must be gr.* got 0",
        ),
        (
            "{tfidf: tfidf_logistic",
            "{tfidf: {name: tfidf_logistic, C: -1}",
            r"baselines.tfidf: C: must be greater than 0, got -1",
        ),
        (
            "hidden_size: 16, n_layers: 1, n_heads: 2",
            "hidden_size: 16, n_heads: 3",
            r"source.n_heads: must divide .*\(16\), got 3",
        ),
        ("stitch: {", "stitch: {layers: 2, ", "stitch.layers: must be at most 1, the layers of bert, got 2. Lower it"),
        (
            "stitch: {",
            "stitch: {unfreeze: 2, features: online, ",
            "stitch.unfreeze: must be at most 1, the layers of bert, got 2",
        ),
        ("learning_rate: 1e-3", "learning_rate: .inf", "learning_rate: must be a finite number, got inf"),
        ("text: synthetic_text", "text: []", "columns.text: .*at least 1 item"),
        (
            "{format: kaggle_csv",
            "{format: {name: kaggle_csv, file_name: ../../x.csv}",
            "format: file_name: string should",
        ),
        ("stack: {", "stack: {members: [bert, brt], ", r"stack.members.1: got 'brt'.*Did you mean 'bert'\?"),
        ("stack: {", "stack: {members: [bert, bert], ", r"stack.members: names a member twice"),
        ("baselines: {tfidf", "baselines: {bert", r"baselines.bert: an encoder has this name too"),
        (
            "stitch: {",
            "stitch: {pairs: [[bert, brt]], ",
            r"params.yaml:\d+ stitch.pairs.0: got 'brt'.*Did you mean 'bert'\?",
        ),
        ("stitch: {", "stitch: {pairs: [[bert, bert]], ", r"stitch.pairs.0: must name different encoders"),
        (
            "stitch: {",
            "stitch: {pairs: [[bert]], ",
            r"stitch.pairs.0: list should have at least 2 items.*got \['bert'\]",
        ),
        (
            "stitch: {",
            "stitch: {pairs: foo, ",
            r"stitch.pairs: must be 'all' or a mapping or a valid list, got 'foo'. Correct",
        ),
        ("stitch: {", "stitch: {pairs: {bets: 2}, ", r"stitch.pairs.bets: is not a known key: .*Did you mean 'best'"),
        (
            "columns: {id: id",
            "columns: {first_id: 1, id: id",
            r"columns.first_id: numbers rows that have no ids, but id is 'id'",
        ),
        (
            "kind: multiclass",
            "kind: multiclass\n    test_columns: {first_id: 1}",
            r"params.yaml:6 tasks.intent.test_columns.first_id: numbers rows that have no ids, but id is 'id'",
        ),
        (
            "kind: multiclass",
            "kind: multiclass\n    test_columns: {text_pair: b}",
            r"test_columns.text_pair: pairs must stand in the training and in the test file, or in neither",
        ),
        (
            "kind: multiclass",
            "kind: multiclass\n    test_columns: {label: b}",
            r"test_columns.label: is not a known key",
        ),
        ("columns: {id: id", "columns: {id: 1.5", r"columns.id: must be a valid string or a valid integer, got 1.5"),
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
        ("{cnn: {name", "{c+n: {name", r"stitch.heads.c\+n: names must be text that matches"),
        ("  bert:", "  007:", r"encoders.7: names must be text that matches .*, got 7"),
        ("submit: {}", "submit: {model: brt}", r"submit.model: got 'brt'.*Did you mean 'bert'\?"),
        ("    max_length: 24\n    head", "    precision: fp16\n    head", r"electra.precision: fp16 needs a GPU"),
        (
            "{name: from_config, architecture: bert",
            "{name: pretrained, hub_id: a/b",
            r"source: pretrained does not take this option",
        ),
    ],
)
def test_P1_P2_P3_P4_P5_a_wrong_key_is_named_with_line_and_remedy(load, old: str, new: str, message: str) -> None:
    """Unknown keys, wrong values, names that DVC cannot address and contradictions are named with line and remedy."""
    assert old in PARAMS
    with pytest.raises(ParamsError, match=f"(?s){message}"):
        load(PARAMS.replace(old, new, 1))


BERT = "{name: from_config, architecture: bert, vocab_size: 300, hidden_size: 16, n_layers: 1, n_heads: 2}"


def test_tasks_of_one_submission_have_test_files_of_the_same_names(load) -> None:
    task = (
        f"{{kind: binary, metric: accuracy, train: data/tiny/train.csv, test: {{b: {FILE}, a: {FILE[:-8]}train.csv}}}}"
    )
    text = PARAMS.replace("\nfolds:", f"\n  mood: {task}\nfolds:")
    with pytest.raises(
        ParamsError, match=r"mood.test: must name the test files of task intent, a single file, got \['a'"
    ):
        load(text)
    text = text.replace(TEST, f"test: {{a: {FILE}, b: data/tiny/train.csv}}")
    assert load(text).test_files == ["a", "b"]
    auxiliary = load(
        text.replace("{kind: binary", "{submit: false, kind: binary").replace(
            "b: data/tiny/train", "c: data/tiny/train"
        )
    )
    assert list(auxiliary.submitted) == ["intent"] and auxiliary.test_files == ["a", "c"]


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
def test_P6_a_checkpoint_must_be_pinned_or_present(load, source: str, message: str) -> None:
    """A hub checkpoint must be pinned to a commit, a local one must be there; both are checked before anything runs."""
    with pytest.raises(ParamsError, match=message):
        load(PARAMS.replace(BERT, source))


@pytest.fixture
def checkpoint(tmp_path):
    """Lay down the folder of a checkpoint and return the params that use it."""

    def write(config: dict, *, weights: str = "model.safetensors", max_length: int = 24) -> str:
        folder = tmp_path / "models" / "mine"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / weights).touch()
        text = PARAMS.replace(BERT, "{name: pretrained, path: models/mine}", 1)
        return text.replace("max_length: 24", f"max_length: {max_length}", 1)

    return write


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "xlnet"}, None),
    ],
)
def test_P5_a_length_beyond_the_models_positions_is_refused(load, checkpoint, config: dict, limit: int | None) -> None:
    """`max_length` beyond what a checkpoint's position embeddings hold is refused from its config.json alone."""
    if limit is None:
        assert load(checkpoint(config, max_length=9999)).encoders["bert"].max_length == 9999
        return
    with pytest.raises(
        ParamsError, match=rf"encoders.bert.max_length: must be at most {limit}, .* got {limit + 1}"
    ) as caught:
        load(checkpoint(config, max_length=limit + 1))
    assert caught.value.code == "E203"
    assert load(PARAMS.replace(BERT, "{name: pretrained, path: models/mine}", 1).replace("24", str(limit), 1))


@pytest.mark.parametrize(
    ("config", "weights", "message"),
    [
        (
            {"model_type": "bert"},
            "pytorch_model.bin",
            r"source: .*must hold model.safetensors, got .*pytorch_model.bin",
        ),
        (
            {"model_type": "evil", "auto_map": {"AutoModel": "evil.Model"}},
            "model.safetensors",
            r"source: .*brings code of its own for model_type 'evil'",
        ),
        ([], "model.safetensors", r"source: .*config.json must be an object"),
    ],
)
def test_P6_a_checkpoint_of_other_weights_or_with_code_of_its_own_is_refused(
    load, checkpoint, config: dict, weights: str, message: str
) -> None:
    """A checkpoint without safetensors, or of a family that only code of its own could build, is refused."""
    with pytest.raises(ParamsError, match=f"encoders.bert.{message}") as caught:
        load(checkpoint(config, weights=weights))
    assert caught.value.code == "E204"


def test_P6_a_hub_checkpoint_that_is_not_here_is_refused_where_nothing_may_be_fetched(load, monkeypatch) -> None:
    """Where nothing may be fetched, a pinned checkpoint that is not on this machine is refused, with what fetches it."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "5c58d0b8ec1d9014354d691c538661bf00bfdb44"
    text = PARAMS.replace(BERT, f"{{name: pretrained, hub_id: nobody/nothing, revision: {commit}}}")
    with pytest.raises(ParamsError, match=rf"source.hub_id: .*hf download nobody/nothing --revision {commit}"):
        load(text)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("epochs: 1", "epohcs: 1", "E201"),
        ("epochs: 1", "loss: {name: focal, gama: 2}", "E201"),
        ("epochs: 1", "epochs: 0", "E202"),
        ("epochs: 1", "loss: focall", "E202"),
        ("train.csv", "trian.csv", "E202"),
        ("competition: tiny", "", "E202"),
        ("stitch: {", "stitch: {unfreeze: 1, ", "E203"),
        ("    max_length: 24\n    head", "    precision: fp16\n    head", "E203"),
        (BERT, "{name: pretrained, path: models/none}", "E204"),
        ("epochs: 1, ", "epohcs: 0, epochs: 0, ", "E200"),
        ("epochs: 1", "epochs: [1", "E200"),
    ],
)
def test_P1_P2_P5_P6_a_problem_of_one_kind_has_its_code(load, old: str, new: str, code: str) -> None:
    """Problems of one kind carry its code (unknown, wrong, contradiction, model); of several kinds E200."""
    with pytest.raises(ParamsError) as caught:
        load(PARAMS.replace(old, new, 1))
    assert caught.value.code == code


def test_P1_all_errors_are_reported_together_and_an_inherited_one_once(load) -> None:
    """All problems are reported at once, one a line, and what encoders inherit only where it is written."""
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
        ("{augmenter: keyboard, row_ratio: 2}", "row_ratio: must be less than or equal to 1, got 2"),
    ],
)
def test_a_wrong_step_of_augmentation_is_named(load, step: str, message: str) -> None:
    with pytest.raises(ParamsError, match=rf"(?s)augment.steps.0.*{message}"):
        load(PARAMS.replace("augment: {}", f"augment: {{steps: [{step}]}}"))


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("{}", "Give tasks.intent.unlabelled, or set augment.transductive.*variants of texts without labels"),
        ("{transductive: true}", "variants of texts without labels. Add a step to augment.steps that needs no labels"),
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
def test_P3_numbers_are_those_of_yaml_1_2(load, written: str, value: float) -> None:
    """`1e-5` is a number in every spelling."""
    params = load(PARAMS.replace("learning_rate: 1e-3", f"learning_rate: {written}"))
    assert params.training.learning_rate == value


@pytest.mark.parametrize(
    ("written", "labels"),
    [("[no, yes]", ["no", "yes"]), ("[off, y]", ["off", "y"]), ("['01', \"1.10\"]", ["01", "1.10"])],
)
def test_P3_no_and_yes_are_text_and_quoted_numbers_too(load, written: str, labels: list[str]) -> None:
    """`no`, `yes`, `off` and quoted numbers are text, as they are written."""
    params = load(PARAMS.replace("kind: multiclass", f"kind: binary\n    labels: {written}"))
    assert params.tasks["intent"].labels == labels


@pytest.mark.parametrize("written", ["01", "1.10", "1e5", "true", "0x1f", "1_000"])
def test_P3_numbers_where_text_is_asked_for_must_be_quoted(load, written: str) -> None:
    """A number or truth value where text is asked for is refused, with the advice to put it in quotes."""
    with pytest.raises(ParamsError, match=r"labels.0: must be a valid string, got .* Put it in quotes"):
        load(PARAMS.replace("kind: multiclass", f"kind: binary\n    labels: [{written}, b]"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n\tepochs: 1\n", r"params.yaml:2: is not valid YAML 1.2: .*blanks, no tabs"),
        ("seed: 1\nseed: 2\n", r"params.yaml:2: is not valid YAML 1.2: found duplicate key"),
        (
            "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(9)),
            r"aliases \(\*name\) unfolded, got more",
        ),
        ("a: " + "[" * 60 + "]" * 60, r"at most 100000 values, 50 levels deep"),
        ("a: " + "[" * 400, r"params.yaml.*: is not valid YAML 1.2"),
        ("a: 2001-13-45\n", r"params.yaml.*: is not valid YAML 1.2|a: is not a known key"),
        ("training: [1]\nencoders: 3\n", r"training: must be a mapping"),
    ],
)
def test_P3_traps_of_yaml_are_refused_in_one_line(load, text: str, message: str) -> None:
    """Tabs, keys that stand twice and aliases that unfold without end are refused with their line."""
    with pytest.raises(ParamsError, match=message):
        load(text)


def test_P3_a_bomb_of_aliases_is_named_by_its_section(load) -> None:
    """Aliases that multiply are refused at once with the line of their section; dvc alone would unfold them without end."""
    rows = "".join(f", a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9))
    with pytest.raises(
        ParamsError, match=r"params.yaml:\d+ bomb: must hold at most .* Remove the aliases that multiply"
    ):
        load(f"{PARAMS}bomb: {{a0: &a0 [1]{rows}}}\n")


@pytest.mark.parametrize("folder", ["data/tiny", "data/tiny/inner", "models/x"])
def test_P5_a_dvcignore_where_dvc_refuses_one_is_told_before_dvc_is(load, tmp_path, folder: str) -> None:
    """A .dvcignore within the data or the models, at which dvc itself stops without a remedy, is named with the way out."""
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / ".dvcignore").touch()
    with pytest.raises(
        ParamsError, match=rf"must hold no .dvcignore .move its lines to ./.dvcignore., .*{folder}/.dvcignore"
    ):
        load(PARAMS)


def test_P3_aliases_and_merge_keys_are_unfolded(load) -> None:
    """Anchors, aliases and merge keys mean what they stand for, truth values too."""
    text = PARAMS.replace("header: true", "").replace("kind: multiclass", "kind: multiclass\n    header: &yes true")
    params = load(text.replace("  electra:\n", "  electra:\n    augment: *yes\n"))
    assert params.tasks["intent"].header is True and params.encoders["electra"].augment is True


PRINTABLE = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["bert", "cnn", "all"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def _places(node, path=()):
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _places(child, (*path, key))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data(), value=VALUES)
def test_P2_any_value_at_any_place_is_taken_or_told(load, data, value) -> None:
    """Whatever stands at whatever key, params load or every problem is told; nothing else comes out."""
    values = YAML(typ="safe").load(PARAMS)
    places = [path for path in _places(values) if path]
    *parents, last = data.draw(st.sampled_from(places))
    node = values
    for part in parents:
        node = node[part]
    node[last] = value
    buffer = io.StringIO()
    YAML(typ="safe").dump(values, buffer)
    try:
        load(buffer.getvalue())
    except ParamsError as error:
        assert error.code in CODES and str(error)
        assert all(line.startswith("params.yaml") for line in str(error).splitlines())


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    epochs=st.integers(1, 99),
    rate=st.floats(1e-9, 1, allow_subnormal=False),
    labels=st.lists(st.text(PRINTABLE, min_size=1, max_size=9), min_size=2, max_size=4, unique=True),
)
def test_P3_params_come_back_from_yaml_as_they_were(load, epochs: int, rate: float, labels: list[str]) -> None:
    """Numbers and quoted texts of any kind are read as they are written."""
    quoted = json.dumps(labels, ensure_ascii=False)
    text = PARAMS.replace("kind: multiclass", f"kind: multiclass\n    labels: {quoted}")
    params = load(
        text.replace("epochs: 1", f"epochs: {epochs}").replace("learning_rate: 1e-3", f"learning_rate: {rate!r}")
    )
    assert (params.training.epochs, params.training.learning_rate) == (epochs, rate)
    assert params.tasks["intent"].labels == labels
    assert params.encoders["bert"].learning_rate == rate


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: os.mkdir(os.fsencode(folder) + b"/caf\xe9"), r"names in it must be UTF-8, got 1 .*caf\\xe9"),
        (lambda folder: os.mkfifo(folder / "pipe"), r"it must hold files and folders, got 1 others, first 'data/tiny/pipe'"),
        (lambda folder: (folder / "link").symlink_to("nowhere"), r"it must hold files and folders, got 1 others"),
    ],
)  # fmt: skip
def test_P4_what_dvc_cannot_hash_in_the_data_folder_is_named(load, tmp_path, make, message) -> None:
    """A name that is not UTF-8, a pipe or a broken link in `data/` ends or hangs DVC: the check names it."""
    make(tmp_path / "data" / "tiny")
    with pytest.raises(ParamsError, match=rf"competition: DVC cannot hash data/tiny: {message}"):
        load(PARAMS)


def test_P3_a_missing_file_and_broken_yaml_say_what_to_do(load, tmp_path) -> None:
    """A params.yaml that is not there, not YAML or not a mapping is refused with what to do."""
    with pytest.raises(ParamsError, match="no such file. Run from the repository's root"):
        load_params(tmp_path / "none.yaml")
    with pytest.raises(ParamsError, match="is not valid YAML"):
        load("a: [1\nb: 2")
    with pytest.raises(ParamsError, match="must be a mapping"):
        load("- 1")


def test_checking_params_imports_no_torch() -> None:
    modules = "pipeline.params.loading, pipeline.recipes.stage_recipes, pipeline.cli"
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
        allowed = ("no such file", "no such folder", "is not installed")
        assert all(any(text in line for text in allowed) for line in str(error).splitlines()), error


def test_what_does_not_fit_several_labels_per_row_is_refused_with_what_does(load) -> None:
    with pytest.raises(ParamsError) as caught:
        of_classes = PARAMS.replace("epochs: 1,", "epochs: 1, loss: cross_entropy,")
        load(of_classes.replace("kind: multiclass", "kind: multilabel").replace("kaggle_csv", "tianchi_json"))
    told = str(caught.value)
    assert (
        "accuracy is for targets that are a class, those of task intent are a multilabel. Take auc or f1_macro" in told
    )
    assert told.count("cross_entropy is for targets that are a class") == 3, "both encoders and the stitched heads"
    assert "Take bce or zlpr, or correct tasks.intent.kind." in told
    assert "tianchi_json is for targets that are a class" in told and "Take kaggle_csv" in told


def test_what_does_not_fit_labels_in_order_is_refused_with_what_does(load) -> None:
    ordinal = PARAMS.replace("kind: multiclass", "kind: ordinal").replace("metric: accuracy", "metric: quadratic_kappa")
    with pytest.raises(ParamsError) as caught:
        load(ordinal.replace("epochs: 1,", "epochs: 1, loss: focal,"))
    told = str(caught.value)
    assert told.count("focal is for targets that are a class, those of task intent are a rank. Take corn, or") == 3
    assert len(told.splitlines()) == 3, "values are those of a class: metric, ladder, baseline and format fit"
    assert {encoder.loss.name for encoder in load(ordinal).encoders.values()} == {"corn"}
    as_classes = load(ordinal.replace("kind: ordinal", "kind: {name: ordinal, link: softmax}"))
    assert as_classes.stitch.loss.name == as_classes.encoders["bert"].loss.name == "cross_entropy"
    with pytest.raises(
        ParamsError, match=r"bert\.objective: r_drop is for .*Take mixup or supervised or supervised_contra"
    ):
        load(ordinal.replace("  bert:\n", "  bert:\n    objective: r_drop\n"))


@pytest.mark.parametrize("key", ["metric: quadratic_kappa", "metric: accuracy\n    report_metrics: [quadratic_kappa]"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_a_metric_of_labels_in_order_is_for_kinds_that_have_one(load, kind: str, key: str) -> None:
    with pytest.raises(
        ParamsError, match=r"quadratic_kappa is for labels that have an order\. Set kind: ordinal, or take"
    ):
        load(PARAMS.replace("kind: multiclass", f"kind: {kind}").replace("metric: accuracy", key))


def test_a_metric_with_two_sets_of_options_is_refused_since_scores_go_by_name(load) -> None:
    load(PARAMS.replace("metric: accuracy", "metric: accuracy\n    report_metrics: [accuracy]"))
    twice = "metric: {name: map_at_k, k: 2}\n    report_metrics: [auc, {name: map_at_k, k: 3}]"
    with pytest.raises(ParamsError, match=r"report_metrics\.1: map_at_k stands here with other options already"):
        load(PARAMS.replace("metric: accuracy", twice))


NUMBERS = PARAMS.replace("kind: multiclass", "kind: regression").replace("metric: accuracy", "metric: rmse")
NUMBERS = NUMBERS.replace("tfidf_logistic", "tfidf_ridge").replace("ladder: [mean, logistic], ", "")


def test_numbers_have_a_loss_and_a_ladder_that_fit_them_by_default(load) -> None:
    params = load(NUMBERS)
    sections = [*params.encoders.values(), params.stitch, params.training]
    assert {section.loss.name for section in sections} == {"mse"}
    assert [rung.name for rung in params.stack.ladder] == ["mean", "median", "greedy", "ridge", "lightgbm"]
    several = PARAMS.replace("kind: multiclass", "kind: multilabel").replace("metric: accuracy", "metric: f1_macro")
    assert load(several.replace("ladder: [mean, logistic], ", "")).encoders["bert"].loss.name == "bce"
    set_by_hand = load(NUMBERS.replace("epochs: 1,", "epochs: 1, loss: {name: huber, delta: 0.5},"))
    assert set_by_hand.encoders["bert"].loss.options == {"delta": 0.5}
    of_classes = load(PARAMS.replace("ladder: [mean, logistic], ", ""))
    assert [rung.name for rung in of_classes.stack.ladder] == ["mean", "rank_mean", "greedy", "logistic", "lightgbm"]
    assert of_classes.encoders["bert"].loss.name == "cross_entropy"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (NUMBERS.replace("epochs: 1,", "epochs: 1, loss: focal,"), "focal is for targets that are a class, .* are a number"),
        (PARAMS.replace("epochs: 1,", "epochs: 1, loss: mse,"), "mse is for targets that are a number, .* are a class"),
        (NUMBERS.replace("stack: {", "stack: {ladder: [logistic], "), r"logistic is .* are a number. Take .*ridge"),
        (NUMBERS.replace("metric: rmse", "metric: auc"), "auc is for targets that are a class or multilabel"),
        (NUMBERS.replace("tfidf_ridge", "tfidf_logistic"), "are a number. Take tfidf_ridge"),
        (NUMBERS.replace("kaggle_csv", "tianchi_json"), "are a number. Take kaggle_csv"),
        (NUMBERS.replace("epochs: 1,", "epochs: 1, class_weights: inverse,"), "inverse is for targets that are a class"),
        (NUMBERS.replace("    head: {", "    objective: uda\n    head: {"), "uda is for .* a class"),
        (NUMBERS.replace("augment: {}", "augment: {quality: {flip_confidence: 0.6}}"), "a number, .* do not flip"),
        (NUMBERS.replace("epochs: 1,", "epochs: 1, loss: {name: huber, delta: 0},"), "delta: must be greater than 0, got 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_numbers_is_refused_with_what_does(load, params: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        load(params)


def test_several_label_columns_are_for_kinds_that_read_them(load) -> None:
    with pytest.raises(ParamsError, match=r"columns.label: a multiclass task has one label column, got .*multilabel"):
        load(PARAMS.replace("label: label", "label: [label, other]"))


def test_components_that_do_not_fit_the_form_of_targets_are_refused(load, monkeypatch: pytest.MonkeyPatch) -> None:
    known = components.constant

    def constant(kind: str, name: str, constant_name: str):
        return "shape" if constant_name == "FORM" else known(kind, name, constant_name)

    load(PARAMS)
    monkeypatch.setattr(components, "constant", constant)
    with pytest.raises(ParamsError) as caught:
        load(PARAMS)
    told = str(caught.value)
    for key in ("metric", "loss", "baselines.tfidf", "stack.ladder"):
        assert key in told
    assert "are a shape. Take another one, or correct tasks." in told
    assert "supervised" not in told, "a component without FORMS fits every form"


def test_a_class_weight_of_a_label_that_a_task_lacks_is_named() -> None:
    weights = {"name": "given", "weights": {"angri": 2.0, "calm": 1.0}}
    training = Training.model_validate({"class_weights": weights})
    tasks: Any = {"mood": SimpleNamespace(labels=["angry", "calm"]), "open": SimpleNamespace(labels=None)}
    [problem] = check_training(training, tasks)
    assert problem.location == ("class_weights",)
    assert re.search("got 'angri', expected .*Did you mean 'angry'.* These are the labels of task mood", problem.text)


def test_shares_over_one_and_positions_that_are_names_are_refused(load) -> None:
    template = PARAMS.replace("text: synthetic_text", 'text: "{a} [SEP] {b}"')
    assert load(template).tasks["intent"].columns.fields == {"text": ["a", "b"]}
    budgets = "max_length: 24\n    field_budgets: {a: 0.6, b: SHARE}\n  electra"
    with pytest.raises(
        ParamsError, match=r"bert.field_budgets: shares must together be at most 1, got 1.1 for .*intent"
    ):
        load(template.replace("max_length: 24\n  electra", budgets.replace("SHARE", "0.5")))
    assert (
        load(template.replace("max_length: 24\n  electra", budgets.replace("SHARE", "5")))
        .encoders["bert"]
        .field_budgets
    )
    headless = template.replace("submission: {", "header: false\n    submission: {").replace("{id: id,", "{id: 2,")
    with pytest.raises(
        ParamsError, match=r"columns.text: without a header columns are positions from 0, got 'a'. Give their"
    ):
        load(headless.replace("label: label", "label: 3"))
    with pytest.raises(ParamsError, match=r"columns.label: a text must not be the label, got 1 for both"):
        load(headless.replace("{a} [SEP] {b}", "{0} [SEP] {1}").replace("label: label", "label: 1"))


def test_a_budget_needs_a_baseline(load) -> None:
    """Without one a run that ends early has nothing to submit."""
    text = PARAMS.replace("device: cpu}", "device: cpu, budget_hours: 1}")
    assert load(text).run.budget_hours == 1
    with pytest.raises(ParamsError, match=r"params.yaml:\d+ run.budget_hours: needs a baseline"):
        load(text.replace("{tfidf: tfidf_logistic}", "{}"))


@pytest.mark.parametrize(
    ("stitch", "left_out", "made"),
    [
        ("", ["bert"], ["electra", "third", "electra+third+cnn", "tfidf"]),
        ("", ["electra+third"], ["bert", "electra", "third", "bert+electra+cnn", "bert+third+cnn", "tfidf"]),
        ("", ["bert", "third", "electra"], ["tfidf"]),
        ("pairs: [[electra, third], [bert, third]], ", ["bert"], ["electra", "third", "electra+third+cnn", "tfidf"]),
        ("pairs: {best: 2}, ", ["bert"], ["electra", "third", "best1+cnn", "tfidf"]),
        ("pairs: {best: 2}, ", ["best2"], ["bert", "electra", "third", "best1+cnn", "tfidf"]),
        ("pairs: {best: 2}, ", ["bert", "third"], ["electra", "tfidf"]),
    ],
)
def test_what_is_left_out_takes_along_what_is_stitched_from_it(
    load, stitch: str, left_out: list[str], made: list[str]
) -> None:
    third = "  third:\n    source: {name: from_config, hidden_size: 16, n_heads: 2}\nstitch: {" + stitch
    params = load(PARAMS.replace("stitch: {", third))
    rest = params.without(left_out)
    assert list(rest.stages) == rest.members == made
    assert params.without([]) is params and rest.encoders.keys() == set(rest.stages) & set(params.encoders)


def test_members_that_are_left_out_are_no_members_and_without_any_all_that_was_made_is(load) -> None:
    params = load(PARAMS.replace("stack: {", "stack: {members: [bert, electra], "))
    assert params.without(["bert"]).members == ["electra"]
    assert params.without(["bert", "electra"]).members == ["tfidf"]


def test_tasks_of_two_kinds_learn_under_losses_of_their_own(load) -> None:
    """What fits one task only is refused with the key that says otherwise for the other; so set, each has its own."""
    score = "tasks:\n  score:\n    kind: regression\n    metric: rmse\n    train: data/tiny/train.csv\n"
    score += "    test: data/tiny/test.csv\n    columns: {id: id, text: synthetic_text, label: score}\n"
    both = PARAMS.replace("tasks:\n", score).replace("stitch: {", "stitch: {pairs: [], ")
    both = both.replace("ladder: [mean, logistic]", "ladder: [mean]").replace("tfidf: tfidf_logistic", "")
    with pytest.raises(ParamsError, match=r"Take huber or mse or smooth_l1 for it, in encoders.bert.of_task.score, or"):
        load(both)
    own = "max_length: 24\n    of_task: {score: {loss: mse}}"
    encoders = load(both.replace("max_length: 24", own)).encoders
    losses = {
        (name, task): encoders[name].for_task(task).loss.name for name in encoders for task in ("intent", "score")
    }
    assert set(losses.values()) == {"cross_entropy", "mse"} and losses["bert", "intent"] == "cross_entropy"


def test_no_two_keys_are_one_section() -> None:
    """A default that is a section is made anew: the audit of inputs knows by its identity which key a section has."""
    sections = [Section]
    for section in sections:
        sections += section.__subclasses__()
        for name, field in section.model_fields.items():
            assert not isinstance(field.default, Section), f"{section.__name__}.{name}"
    assert TaskBatches in sections
