"""`stitchfold init` on files as organisers write them: what it writes passes `check`, `prepare` and a rehearsal."""

import csv
import gzip
import io
import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline import init_command
from pipeline.cli import app
from pipeline.data.preparing import prepare
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.loading import load_params
from pipeline.start import files, init, machine
from pipeline.submit.rehearsal import rehearse
from tests.conftest import ROOT

WORDS = [
    "rain",
    "falls",
    "over",
    "the",
    "old",
    "harbour",
    "while",
    "boats",
    "wait,",
    "nobody",
    "knows",
    "how",
    "long",
    "«Größe»",
    "it",
    "takes",
]
N = 60


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder of a competition in an empty project, on a machine without a GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(init, "this_machine", lambda: machine.Machine(2, 0))
    path = Path("data/own")
    path.mkdir(parents=True)
    return path


def text(number: int) -> str:
    generator = random.Random(number)
    return " ".join(generator.choices(WORDS, k=12)) + f" {number}"


def rows(path: Path, lines: Sequence[Sequence[object]], *, separator: str = ",", encoding: str = "utf-8") -> None:
    """Write rows, gzipped if the name says so."""
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator, lineterminator="\n").writerows(lines)
    content = buffer.getvalue().encode(encoding)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def run(
    path: Path = Path("data/own"), *, ask: Callable[..., str | None] = lambda *_: None, **given: Any
) -> dict[str, Any]:
    """Write params.yaml, take them through what is checked before training, and return them as they are written."""
    init.init(path, Path("params.yaml"), ask=ask, force=True, **given)
    params = load_params()
    rehearse(params, prepare(params.tasks))
    values: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml"))
    return values


def test_semicolons_in_a_western_encoding_with_the_label_in_the_middle_and_no_ids(folder: Path) -> None:
    rows(folder / "learn.csv", [["titel", "klasse", "meldung"]] + [[text(n)[:20], "ab"[n % 2], text(n)] for n in range(N)],
         separator=";", encoding="cp1252")  # fmt: skip
    rows(folder / "eval.csv", [["titel", "meldung"]] + [[text(n)[:20], text(n)] for n in range(90, 99)], separator=";",
         encoding="cp1252")  # fmt: skip
    task = run()["tasks"]["main"]
    assert task["train"] == "data/own/learn.csv" and task["test"] == "data/own/eval.csv"
    assert (task["separator"], task["encoding"], task["kind"]) == (";", "cp1252", "binary")
    assert task["columns"] == {"text": ["titel", "meldung"], "label": "klasse"}


def test_headerless_gzipped_rows_whose_label_stands_first(folder: Path) -> None:
    rows(folder / "train.tsv.gz", [[["pos", "neg", "neutral"][n % 3], n, text(n)] for n in range(N)], separator="\t")
    rows(folder / "test.tsv.gz", [[n, text(n)] for n in range(90, 99)], separator="\t")
    task = run()["tasks"]["main"]
    assert task["header"] is False and task["kind"] == "multiclass"
    assert task["columns"] == {"id": 1, "text": 2, "label": 0}
    assert task["test_columns"] == {"id": 0, "text": 1}


def test_json_lines_under_another_name_with_grades_and_repeated_authors(folder: Path) -> None:
    def line(n: int) -> dict[str, Any]:
        return {"uid": f"u{n}", "author": f"a{n % 25}", "review": text(n)}

    with_stars = [line(n) | {"stars": 1 + n % 5} for n in range(N)]
    (folder / "train.txt").write_text("\n".join(map(json.dumps, with_stars)), encoding="utf-8")
    (folder / "test.txt").write_text("\n".join(json.dumps(line(n)) for n in range(90, 99)), encoding="utf-8")
    values = run()
    task = values["tasks"]["main"]
    assert (task["format"], task["kind"], task["metric"]) == ("jsonl", "ordinal", "quadratic_kappa")
    assert task["columns"] == {"id": "uid", "text": "review", "label": "stars", "group": "author"}
    assert task["submission"]["format"] == {"name": "kaggle_csv", "id_column": "uid", "label_column": "stars"}


def test_pairs_of_glue_with_lone_quotes_and_ids_in_the_test_file_alone(folder: Path) -> None:
    def line(*fields: object) -> str:
        return "\t".join(map(str, fields)) + "\n"

    train = [line(text(n // 2), f'"{text(n + 500)}', n % 2) for n in range(N)]
    (folder / "train.tsv").write_text(line("sentence1", "sentence2", "is_same") + "".join(train), encoding="utf-8")
    test = [line(n, text(n + 700), text(n + 900)) for n in range(9)]
    (folder / "test.tsv").write_text(line("index", "sentence1", "sentence2") + "".join(test), encoding="utf-8")
    rows(folder / "sampleSubmission.csv", [["index", "prediction"]] + [[n, 0] for n in range(9)])
    values = run()
    task = values["tasks"]["main"]
    assert task["quoting"] is False and values["folds"]["group_pairs"] is True
    assert task["columns"] == {"text": "sentence1", "text_pair": "sentence2", "label": "is_same"}
    assert task["test_columns"] == {"id": "index"}


def test_parquet_with_a_column_per_label_whose_probabilities_are_wanted(folder: Path) -> None:
    toxic = {"id": [f"x{n}" for n in range(N)], "comment_text": [text(n) for n in range(N)]}
    labels = {
        name: [int(n % period == 0) for n in range(N)] for name, period in (("toxic", 2), ("threat", 3), ("insult", 5))
    }
    pd.DataFrame(toxic | labels).to_parquet(folder / "train.parquet")
    pd.DataFrame({"id": ["y1", "y2", "y3"], "comment_text": [text(n) for n in range(3)]}).to_parquet(
        folder / "test.parquet"
    )
    sample = [["id", *labels], *([name, 0.5, 0.5, 0.5] for name in ("y1", "y2", "y3"))]
    rows(folder / "sample_submission.csv", sample)
    task = run()["tasks"]["main"]
    assert (task["kind"], task["metric"]) == ("multilabel", "auc")
    assert task["columns"] == {"id": "id", "text": "comment_text", "label": ["toxic", "threat", "insult"]}
    assert task["submission"]["format"] == {"name": "kaggle_csv", "values": "probabilities"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_encodings_that_only_the_test_file_shows(folder: Path, encoding: str) -> None:
    of_train = "utf-16" if encoding == "utf-16" else "ascii"
    rows(
        folder / "train.csv",
        [["id", "text", "label"]] + [[n, f"row {n} of it", n % 2] for n in range(N)],
        encoding=of_train,
    )
    rows(
        folder / "test.csv",
        [["id", "text"]] + [[n, "今天天气很好，我们去公园散步吧"] for n in range(90, 99)],
        encoding=encoding,
    )
    assert run()["tasks"]["main"].get("encoding", "utf-8-sig") == encoding


def plain(folder: Path, *, train: str = "train.csv", test: str = "test.csv", first: int = 0) -> None:
    """Write a competition as most are: id, text, label, and a sample."""
    rows(folder / train, [["id", "text", "label"]] + [[n, text(n), "ab"[n % 2]] for n in range(first, first + N)])
    rows(folder / test, [["id", "text"]] + [[n, text(n)] for n in range(900, 909)])


def test_a_sample_with_a_probability_per_class_tells_the_label_column(folder: Path) -> None:
    plain(folder)
    rows(
        folder / "train.csv",
        [["id", "text", "author", "year"]] + [[n, text(n), "EMW"[n % 3], 1900 + n % 7] for n in range(N)],
    )
    rows(folder / "sample_submission.csv", [["id", "E", "M", "W"]] + [[n, 0.3, 0.3, 0.4] for n in range(900, 909)])
    task = run()["tasks"]["main"]
    assert task["columns"]["label"] == "author" and task["metric"] == "log_loss"
    assert task["submission"]["format"] == {"name": "kaggle_csv", "values": "probabilities"}


def test_a_folder_without_a_training_file(folder: Path) -> None:
    rows(folder / "test.csv", [["id", "text"], [1, text(1)]])
    with pytest.raises(DataError, match=r"data/own: must have a training file, got \['test.csv'\]. Put it there"):
        run()


def test_two_training_files_are_asked_about_or_both_named(folder: Path) -> None:
    plain(folder)
    plain(folder, train="train_clean.csv")
    with pytest.raises(
        DataError, match="must have one training file, got data/own/train.csv and data/own/train_clean.csv"
    ):
        run()
    asked: list[str] = []

    def ask(question: str, answers: Sequence[str]) -> str | None:
        asked.append(question)
        return next((answer for answer in answers if "clean" in answer), None)

    assert run(ask=ask)["tasks"]["main"]["train"] == "data/own/train_clean.csv"
    assert asked[0] == "Which is the training file?" and asked[1].startswith("Which metric")
    assert run(train=folder / "train.csv")["tasks"]["main"]["train"] == "data/own/train.csv"


def test_a_sample_that_fits_no_file(folder: Path) -> None:
    plain(folder)
    rows(folder / "sample_submission.csv", [["id", "label"]] + [[f"other{n}", "a"] for n in range(9)])
    with pytest.raises(
        DataError, match=r"sample_submission.csv: must have the ids of data/own/test.csv, got .*'other0'"
    ) as caught:
        run()
    assert caught.value.code == "E306"


def test_two_columns_that_could_be_the_label_are_named(folder: Path) -> None:
    plain(folder)
    rows(
        folder / "train.csv",
        [["id", "text", "mood", "place"]] + [[n, text(n), "ab"[n % 2], "xyz"[n % 3]] for n in range(N)],
    )
    with pytest.raises(DataError, match="which column is the label, 'mood' or 'place'[?] Name it: --label"):
        run()
    assert run(label=["place"])["tasks"]["main"]["columns"]["label"] == "place"
    with pytest.raises(DataError, match="--label: got 'plase', expected one of .* Did you mean 'place'"):
        run(label=["plase"])


def test_ids_that_each_file_names_in_its_own_way_are_no_labels(folder: Path) -> None:
    plain(folder)
    rows(folder / "train.csv", [["row_id", "text", "mood"]] + [[n, text(n), "ab"[n % 2]] for n in range(N)])
    task = run()["tasks"]["main"]
    assert task["columns"] == {"id": "row_id", "text": "text", "label": "mood"} and task["test_columns"] == {"id": "id"}


def test_without_a_header_a_label_is_named_by_its_position(folder: Path) -> None:
    rows(folder / "train.csv", [[n, "ab"[n % 2], text(n), "xyz"[n % 3]] for n in range(N)])
    rows(folder / "test.csv", [[n, "ab"[n % 2], text(n)] for n in range(90, 99)])
    assert run(label=["3"])["tasks"]["main"]["columns"] == {"id": 0, "text": 2, "label": 3}
    with pytest.raises(DataError, match="--label: got '7', expected one of"):
        run(label=["7"])


def test_single_words_are_texts_where_nothing_else_is(folder: Path) -> None:
    rows(folder / "train.csv", [["name", "label"]] + [[f"w{n}", "ab"[n % 2]] for n in range(N)])
    rows(folder / "test.csv", [["name"]] + [[f"v{n}"] for n in range(9)])
    assert run()["tasks"]["main"]["columns"] == {"text": "name", "label": "label"}


def test_a_metric_that_does_not_fit_the_labels(folder: Path) -> None:
    plain(folder)
    assert run(metric="f1_macro")["tasks"]["main"]["metric"] == "f1_macro"
    with pytest.raises(ParamsError, match="--metric: got 'rmse', expected one of .*'accuracy'"):
        run(metric="rmse")
    with pytest.raises(ParamsError, match="--metric: got 'quadratic_kappa'"):
        run(metric="quadratic_kappa")


def test_params_are_not_overwritten_unless_told(folder: Path) -> None:
    plain(folder)
    Path("params.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(ParamsError, match="params.yaml: is there already. Move it, or overwrite it with --force"):
        init.init(folder, Path("params.yaml"), ask=lambda *_: None)
    assert Path("params.yaml").read_text(encoding="utf-8") == "mine"


def test_a_folder_elsewhere_is_to_be_linked(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "My Files"
    folder.rename(elsewhere)
    plain(elsewhere)
    with pytest.raises(ParamsError, match=rf"must be data/my-files.*ln -s '{elsewhere}' data/my-files; then"):
        run(elsewhere)
    Path("data/my-files").symlink_to(elsewhere)
    assert run(Path("data/my-files"))["competition"] == "my-files"


@pytest.mark.parametrize(
    "labels, told",
    [
        ([f"only {n}" for n in range(N)], "'label' must hold labels that recur, got 60 in 60 rows"),
        (["one"] * N, r"'label' must hold two labels or more, got \['one'\]"),
        ([""] * N, "'label' must hold two labels or more, got none"),
        ([], "must hold rows below the names of its columns, got none"),
    ],
)
def test_labels_that_can_be_none(folder: Path, labels: list[str], told: str) -> None:
    plain(folder)
    rows(folder / "train.csv", [["id", "text", "label"]] + [[n, text(n), label] for n, label in enumerate(labels)])
    with pytest.raises(DataError, match=rf"data/own/train.csv: (the label )?{told}.*[.] "):
        run()


@pytest.mark.parametrize(
    "values, wanted",
    [
        (["a", "b"], "kaggle_csv"),
        (["0.5", "0.5"], {"name": "kaggle_csv", "values": "probabilities"}),
        (["b a", "a b"], {"name": "kaggle_csv", "values": "top_k", "k": 2}),
        (["?", "?"], {"name": "kaggle_csv", "sample_values": "placeholders"}),
    ],
)
def test_a_samples_values_tell_what_is_wanted_of_rows_that_it_counts(
    folder: Path, values: list[str], wanted: Any
) -> None:
    plain(folder)
    rows(folder / "test.csv", [["text"], [text(1)], [text(2)]])
    rows(folder / "sample.csv", [["id", "label"]] + [[n, value] for n, value in enumerate(values, start=1)])
    task = run()["tasks"]["main"]
    assert task["submission"]["format"] == wanted
    assert task["test_columns"] == {"id": None, "first_id": 1}


def test_bytes_that_are_no_text_are_named(folder: Path) -> None:
    plain(folder)
    (folder / "train.csv").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DataError, match=r"data/own/train.csv"):
        run()


def test_what_is_written_says_why_and_is_the_same_each_time(folder: Path) -> None:
    plain(folder)
    run()
    once = Path("params.yaml").read_text(encoding="utf-8")
    assert "kind: binary # 2 labels, from 'b' (30 rows) to 'a' (30)" in once
    assert "The files do not say the metric" in once and "2 core(s) and no GPU, 60 rows" in once
    run()
    assert Path("params.yaml").read_text(encoding="utf-8") == once


def test_a_checkpoint_of_this_machine_is_trained_only_where_a_gpu_is(folder: Path, monkeypatch) -> None:
    plain(folder)
    monkeypatch.setattr(init, "find_checkpoints", lambda **_: [])
    assert list(run()["encoders"]) == ["small"]
    model = Path("models/Tiny.bert")
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "bert", "max_position_embeddings": 512}', encoding="utf-8")
    for name in ("model.safetensors", "tokenizer.json"):
        (model / name).touch()
    source = {"path": "models/Tiny.bert"}
    assert ("tiny-bert", source) in list(machine.find_checkpoints(max_length=512))
    assert "tiny-bert" not in dict(machine.find_checkpoints(max_length=513))
    monkeypatch.setattr(init, "find_checkpoints", lambda **_: [("tiny-bert", source)])
    assert list(run()["encoders"]) == ["small"] and "# tiny-bert:" in Path("params.yaml").read_text(encoding="utf-8")
    monkeypatch.setattr(init, "this_machine", lambda: machine.Machine(8, 1))
    assert run()["encoders"]["tiny-bert"]["source"] == {"name": "pretrained", **source}


@pytest.mark.parametrize("quoted", [False, True])
def test_of_a_large_file_the_head_is_read_up_to_a_whole_row(folder: Path, monkeypatch, quoted: bool) -> None:
    monkeypatch.setattr(files, "HEAD_BYTES", 3000)
    end = "\nand a, second line" if quoted else ""
    rows(folder / "train.csv", [["id", "text", "label"]] + [[n, text(n) + end, "ab"[n % 2]] for n in range(400)])
    head = files.read_head(folder / "train.csv")
    assert not head.is_whole and 10 < len(head.rows) < 60
    assert head.rows[1][1:].tolist() == [text(n) + end for n in range(len(head.rows) - 1)]


def test_a_gigabyte_takes_no_more_memory_than_its_head(folder: Path) -> None:
    plain(folder)
    block = b"".join(f"{n},some text of row {n},{'ab'[n % 2]}\n".encode() for n in range(N, 1000))
    with (folder / "train.csv").open("ab") as file:
        file.write(block * 400)  # more than the head
        file.truncate(1 << 30)  # zeros that take no disk
    code = (
        "from pathlib import Path; from pipeline.start.files import read_head;"
        "assert not read_head(Path('data/own/train.csv')).is_whole;"
        # the peak of this process: that of getrusage begins with the parent's
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) << 10 < 500 << 20


REAL = {
    "disaster_tweets": ("binary", {"id": "id", "text": "text", "label": "target"}, False),
    "smp2020_ewect": ("multiclass", {"id": "id", "text": "text", "label": "label"}, False),
    "goemotions": ("multilabel", {"id": "id", "text": "text", "label": "labels"}, False),
    "commonlit": ("regression", {"id": "id", "text": "excerpt", "label": "target"}, False),
    "mrpc": ("binary", {"id": "id", "text": "sentence1", "text_pair": "sentence2", "label": "label"}, True),
    "ccks2021_address": ("multiclass", {"id": "id", "text": "query", "text_pair": "candidate", "label": "label"}, True),
    "tianchi_generalization": ("multiclass", {"id": 0, "text": 1, "label": 2}, True),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_competitions(name: str) -> None:
    if not (ROOT / "data" / name).is_dir():
        pytest.skip(f"data/{name} is not there")
    Path("data", name).symlink_to((ROOT / "data" / name).resolve())
    values = run(Path("data", name))
    kind, columns, group_pairs = REAL[name]
    task = next(iter(values["tasks"].values()))
    assert (task["kind"] if isinstance(task["kind"], str) else task["kind"]["name"]) == kind
    assert task["columns"] == columns and values["folds"]["group_pairs"] is group_pairs
    assert len(values["tasks"]) == (3 if name == "tianchi_generalization" else 1)


def test_the_command_tells_what_it_found_and_overwrites_nothing(folder: Path) -> None:
    plain(folder)
    first, second = (CliRunner().invoke(app, ["init", "data/own", "--metric", "auc"]) for _ in range(2))
    assert first.exit_code == 0 and "main: binary, 2 labels" in first.stdout
    assert second.exit_code == ParamsError.exit_code


def test_questions_are_put_to_a_terminal_alone_until_an_answer_fits(monkeypatch) -> None:
    answers = iter(["c", "b", ""])
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: next(answers))
    assert init_command.ask("Which?", ["a", "b"]) is None  # pytest's stdin is none
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert init_command.ask("Which?", ["a", "b"]) == "b"
    assert init_command.ask("Which?", ["a", "b"]) is None
