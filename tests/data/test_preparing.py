"""The table holds every row with clean texts and ordered labels, or the stage says what is wrong and where."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.table import TABLE_COLUMNS, Reading, read_table, write_table
from pipeline.data import preparing
from pipeline.data.auditing import audit
from pipeline.data.class_targets import order_labels
from pipeline.data.likeness import measure_likeness
from pipeline.data.preparing import prepare
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.fields import Component
from pipeline.params.tasks import Columns, Submission, Task, TextColumns
from pipeline.text.normalising import clean, normalise
from pipeline.text.templates import fields_of, readable

TRAIN = "id,text,label\n0,a,x\n1,b,y\n2,c,x\n"
TEST = "id,text\n0,d\n1,e\n"


def _task(
    folder: Path, train: str = TRAIN, test: str = TEST, *, columns: Columns | None = None, **options: Any
) -> dict[str, Task]:
    (folder / "train.csv").write_bytes(train.encode())
    (folder / "test.csv").write_bytes(test.encode())
    files = {"train": str(folder / "train.csv"), "test": str(folder / "test.csv")}
    settings = {"kind": "multiclass", "metric": "accuracy", "columns": columns or Columns(id="id")}
    return {"t": Task.model_validate({**settings, **files, **options})}


def test_the_table_has_every_row_in_file_order(tmp_path: Path) -> None:
    table = prepare(_task(tmp_path))
    assert list(table.rows) == TABLE_COLUMNS
    assert table.labels == {"t": ["x", "y"]}
    assert table.select("t", "train")["row_id"].tolist() == ["0", "1", "2"]
    assert table.select("t", "test")["text"].tolist() == ["d", "e"]
    assert table.select("t", "test")["label"].isna().all()
    assert table.rows[["text_pair", "group"]].isna().all(axis=None)


def _of_files(folder: Path, **files: str) -> dict[str, Task]:
    """Return the task with test files of these names and contents."""
    [task] = _task(folder).values()
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content)
    return {"t": task.model_copy(update={"test": {name: str(folder / f"{name}.csv") for name in files}})}


def test_rows_of_several_test_files_are_told_apart_though_their_ids_recur(tmp_path: Path) -> None:
    write_table(prepare(_of_files(tmp_path, a="id,text\n1,d\n0,e\n", b="id,text\n0,f\n")), tmp_path / "table.parquet")
    table = read_table(tmp_path / "table.parquet")
    tests = table.test_files("t")
    assert {file: rows["id_in_file"].tolist() for file, rows in tests.items()} == {"a": ["1", "0"], "b": ["0"]}
    assert {file: rows["text"].tolist() for file, rows in tests.items()} == {"a": ["d", "e"], "b": ["f"]}
    assert table.select("t", "test")["row_id"].is_unique and table.select("t", "train")["row_id"].tolist() == [
        "0",
        "1",
        "2",
    ]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("id,text\n", r"b\.csv: must hold at least one row, got none"),
        ("id,text\n0,d\n,e\n", r"b\.csv:3: every row must have an id, got 1 without"),
        ("id,text\n0,d\n0,e\n", r"b\.csv: ids must be unique, got 1 repeated rows"),
        ("text\nd\n", r"b\.csv:1: has no column 'id'.* goes into tasks\.t\.test_columns"),
    ],
)
def test_what_is_wrong_with_one_of_several_test_files_names_it(tmp_path: Path, second: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(_of_files(tmp_path, a=TEST, b=second))


def test_an_auxiliary_task_needs_no_test_file(tmp_path: Path) -> None:
    [task] = _task(tmp_path).values()
    auxiliary = task.model_copy(update={"test": None, "submit": False})
    table = prepare({"t": task, "more": auxiliary})
    assert list(table.rows) == TABLE_COLUMNS
    assert len(table.select("more", "train")) == 3 and table.test_files("more") == {}
    clusters = table.rows[["task", "split", "row_id"]].assign(cluster=range(len(table.rows)))
    known, likeness = measure_likeness(table, clusters)
    assert likeness["more"]["auc"] is None and len(known) == len(table.rows)
    told = audit(table, clusters, likeness)["more"]
    assert told["rows"] == {"train": 3, "test": 0} and told["lengths"]["test"]["tokens"]["max"] == 0


def test_D1_D3_ids_and_labels_stay_as_they_are(tmp_path: Path) -> None:
    """Ids `001` and `1` are two, and `NA`, `null` and ` NA` are labels."""
    table = prepare(_task(tmp_path, "id,text,label\n001,a,NA\n1,b,null\n1e5,None, NA\n"))
    assert table.select("t", "train")["row_id"].tolist() == ["001", "1", "1e5"]
    assert table.select("t", "train")["label"].tolist() == ["NA", "null", " NA"]
    assert table.select("t", "train")["text"].tolist() == ["a", "b", "None"]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_D2_gaps_that_are_not_numbers_are_no_class_no_text_no_group_and_no_id(tmp_path: Path, form: str) -> None:
    """A NaN of parquet or JSON is a missing label, an empty text, no group and a missing id, never the word `nan`."""
    gaps = {
        "id": [0.0, 1.0, 2.0, 3.0], "text": [0.5, math.nan, 1.5, 2.5], "label": [0.0, 1.0, math.nan, 1.0],
        "group": [math.nan, 7.0, math.nan, 7.0],
    }  # fmt: skip
    table = pa.table(gaps)
    paths = [tmp_path / f"{name}.{form}" for name in ("train", "test")]
    for path in paths:
        if form == "parquet":
            pq.write_table(table, path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    files = {"train": str(paths[0]), "test": str(paths[1])}
    columns = Columns(id="id", group="group")
    task = Task(kind="multiclass", metric="accuracy", **files, columns=columns, missing_labels="drop")
    read = prepare({"t": task})
    assert len(read.labels["t"]) == 2
    rows = read.select("t", "train")
    assert rows["text"].str.len().tolist() == [3, 0, 3]
    assert rows["group"].isna().tolist() == [True, False, False] and rows["group"].nunique() == 1
    with pytest.raises(DataError, match=r"every training row must have a label, got 1 without"):
        prepare({"t": task.model_copy(update={"missing_labels": "fail"})})
    with pytest.raises(DataError, match=r"every row must have an id, got 2 without"):
        prepare({"t": task.model_copy(update={"columns": Columns(id="group")})})


def test_without_an_id_column_rows_are_numbered_in_each_file(tmp_path: Path) -> None:
    table = prepare(_task(tmp_path, columns=Columns()))
    assert table.select("t", "train")["row_id"].tolist() == ["0", "1", "2"]
    assert table.select("t", "test")["row_id"].tolist() == ["0", "1"]


@pytest.mark.parametrize(
    ("train", "test", "columns", "test_columns"),
    [
        ("text,label\na,x\nb,y\nc,x\n", "index,text\n5,d\n7,e\n", {}, {"id": "index"}),
        (TRAIN, "text\nd\ne\n", {"id": "id"}, {"id": None, "first_id": 5}),
        (TRAIN.replace("text", "q"), "qid,s,t\n5,d,\n7,,e\n", {"id": "id", "text": "q"}, {"id": "qid", "text": ["s", "t"]}),
    ],
    ids=["ids only in the test file", "ids only in the training file", "other names"],
)  # fmt: skip
def test_D6_columns_that_differ_in_the_test_file_are_read(
    train: str, test: str, columns: dict[str, Any], test_columns: dict[str, Any], tmp_path: Path
) -> None:
    """Ids that only one of the files has, and columns that the test file names in another way, are read by `test_columns`."""
    tasks = _task(tmp_path, train, test, columns=Columns(**columns), test_columns=TextColumns(**test_columns))
    table = prepare(tasks)
    assert table.select("t", "train")[["row_id", "text"]].to_numpy().tolist() == [["0", "a"], ["1", "b"], ["2", "c"]]
    second = "6" if test_columns.get("first_id") else "7"
    assert table.select("t", "test")[["row_id", "text"]].to_numpy().tolist() == [["5", "d"], [second, "e"]]


@pytest.mark.parametrize(("train", "test"), [("text,label\na,x\nb,y\n", TEST), (TRAIN, "index,text\n0,d\n")])
def test_D6_a_column_that_one_file_lacks_names_test_columns(train: str, test: str, tmp_path: Path) -> None:
    """Where a file lacks a column that the other has the error names `test_columns`, which says what differs."""
    with pytest.raises(DataError, match=r"has no column 'id'.*goes into tasks\.t\.test_columns") as caught:
        prepare(_task(tmp_path, train, test))
    assert caught.value.code == "E303"


def test_several_text_columns_are_joined_where_not_empty(tmp_path: Path) -> None:
    train = "id,k,m,text,label\n0,,,a,x\n1,k,,b,y\n2,k,m,,x\n3,,,,y\n"
    columns = Columns(id="id", text=["k", "m", "text"])
    table = prepare(_task(tmp_path, train, "id,k,m,text\n9,k,m,t\n", columns=columns))
    assert table.rows["text"].tolist() == ["a", "k b", "k m", "", "k m t"]


def test_pairs_and_groups_are_kept_and_empty_groups_are_missing(tmp_path: Path) -> None:
    train = "id,a,b,g,label\n0,p,q,g1,x\n1,r,,,y\n"
    columns = Columns(id="id", text="a", text_pair="b", group="g")
    table = prepare(_task(tmp_path, train, "id,a,b\n0,s,t\n", columns=columns))
    rows = table.rows
    assert rows["text_pair"].tolist() == ["q", "", "t"]
    assert rows["group"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a\x00\x07b\x7f\x9fc", "abc"),
        ("a\tb\nc\r\nd\re\u0085f", "a\tb\nc\nd\ne\nf"),
        ("\ufeffa", "a"),
        ("e\u0301 ﬁ Ａ", "é ﬁ Ａ"),
        ("👨\u200d👩\u200d👧 می\u200cخواهم \u200fא", "👨\u200d👩\u200d👧 می\u200cخواهم \u200fא"),
        ("\u2028[MASK]</s>", "\u2028[MASK]</s>"),
    ],
)
def test_D13_cleaning_removes_controls_and_keeps_meaning(raw: str, expected: str) -> None:
    """Control characters and byte order marks go; joiners, direction marks and compatibility forms stay; texts are NFC."""
    assert clean(pa.array([raw])).to_pylist() == [expected]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_D13_H2_cleaning_twice_changes_nothing(text: str) -> None:
    """Cleaning a clean text changes nothing, whatever it holds."""
    once = clean(pa.array([text]))
    assert clean(once).equals(once)


def test_D10_rows_with_bytes_that_are_no_text_are_left_out_of_training_and_never_of_the_test_file(
    tmp_path: Path,
) -> None:
    """With `encoding_errors: drop_row` training rows with bad bytes go; those of the test file stay, with U+FFFD."""
    tasks = _task(tmp_path, TRAIN + "9,caf?,x\n", TEST + "9,caf?\n", encoding_errors="drop_row")
    for path in tmp_path.glob("*.csv"):
        path.write_bytes(path.read_bytes().replace(b"?", b"\xe9"))
    table = prepare(tasks)
    assert table.select("t", "train")["row_id"].tolist() == ["0", "1", "2"]
    assert table.select("t", "test")["text"].tolist() == ["d", "e", "caf\ufffd"]


@pytest.mark.parametrize("marks", ["\u0301\u0327", "\u0344"])
def test_D13_very_many_combining_marks_are_cut_to_thirty(marks: str) -> None:
    """Of more than 30 combining marks in a row 30 stay: putting very many in order would take quadratic time."""
    text = f"a{marks * 500_000}b हिन्दी"
    once = clean(pa.array([text]))
    assert clean(once).equals(once) and len(once[0].as_py()) < 45 and once[0].as_py().endswith("b हिन्दी")
    assert normalise(normalise(text)) == normalise(text) and len(normalise(text)) < 45


@pytest.mark.parametrize(
    "ordered",
    [
        ["3", "20", "100"],
        [f"{number}.0" for number in range(1, 11)],
        ["-10", "-9.5", "+1", "2"],
        ["1e-1", "5e-1", "1e1"],
        ["−2", "−1", "０", "１０"],
        ["0,5", "1", "1,5", "10"],
        ["999", "1,000", "10,000"],
        ["10 %", "1/2", "3/4", "2"],
        ["٢", "١٠"],
    ],
)
def test_labels_that_are_numbers_are_ordered_by_value_not_by_spelling(tmp_path: Path, ordered: list[str]) -> None:
    train = "id,text,label\n" + "".join(f'{i},a,"{label}"\n' for i, label in enumerate(reversed(ordered)))
    table = prepare(_task(tmp_path, train, metric="quadratic_kappa"))
    assert table.labels == {"t": ordered} == {"t": order_labels(sorted(ordered))}


def test_a_given_list_of_labels_is_kept_and_one_out_of_order_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert prepare(_task(tmp_path, labels=["z", "y", "x"])).labels == {"t": ["z", "y", "x"]}
    train = "id,text,label\n0,a,1\n1,b,2\n2,c,10\n"
    prepare(_task(tmp_path, train, metric="quadratic_kappa", labels=["10", "2", "1"]))
    assert "reads their order" not in caplog.text
    prepare(_task(tmp_path, train, metric="quadratic_kappa", labels=["1", "10", "2"]))
    assert (
        "tasks.t.labels: quadratic_kappa reads their order, and ['1', '10', '2'] is not that of numbers" in caplog.text
    )


WORDS = "id,text,label\n0,a,high\n1,b,low\n"
PROBABILITIES = Submission.model_validate({"format": {"name": "kaggle_csv", "values": "probabilities"}})


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        (
            WORDS + "2,c,medium\n",
            {"metric": "quadratic_kappa"},
            r"for quadratic_kappa.*labels, from the lowest to the high",
        ),
        (
            WORDS,
            {"report_metrics": ["quadratic_kappa"]},
            r"for quadratic_kappa, .*got \['high', 'low'\] by their spelling",
        ),
        (WORDS, {"kind": "binary", "metric": "f1_binary"}, r"f1_binary.*in tasks\.t\.labels, the positive one last"),
        (
            WORDS,
            {"kind": "binary", "metric": "auc", "submission": PROBABILITIES},
            r"a submission of probabilities.*last\.",
        ),
        (WORDS.replace("high", "1").replace("low", "1.0"), {"metric": "quadratic_kappa"}, r"as different numbers have"),
    ],
)
def test_D16_words_under_what_reads_their_order_demand_labels(
    tmp_path: Path, train: str, options: dict[str, Any], message: str
) -> None:
    """Where a metric or a column of probabilities reads the order of labels that are words, their list is asked for."""
    with pytest.raises(DataError, match=message):
        prepare(_task(tmp_path, train, **options))
    labels = sorted({line.rpartition(",")[2] for line in train.splitlines()[1:]}, reverse=True)
    assert prepare(_task(tmp_path, train, **options, labels=labels)).labels == {"t": labels}


@pytest.mark.parametrize("truths", [["False", "True"], ["no", "yes"]])
def test_no_and_yes_have_an_order(tmp_path: Path, truths: list[str]) -> None:
    train = f"id,text,label\n0,a,{truths[1]}\n1,b,{truths[0]}\n"
    assert prepare(_task(tmp_path, train, kind="binary", metric="f1_binary")).labels == {"t": truths}


@pytest.mark.parametrize(
    ("train", "options", "message", "code"),
    [
        (
            "id,text,label\n0,a,x\n1,b,\n2,c,y\n",
            {},
            r"train\.csv:3: every training row must have a label, got 1.*'1'.*missing_labels: drop or unlabelled",
            "E301",
        ),
        (
            TRAIN,
            {"labels": ["x", "Y"]},
            r"train\.csv:3: labels must be one of \['x', 'Y'\], got 'y' in row '1' \(1 such.*rename_labels",
            "E305",
        ),
        (TRAIN, {"rename_labels": {"X": "x"}}, r"rename_labels must name labels of the file, got 'X'", "E305"),
        ("id,text,label\n0,a,x\n1,b,x\n", {}, r"must have at least two labels, got 1: \['x'\]", "E300"),
        (
            "id,text,label\n0,a,x\n0,b,y\n1,c,y\n1,c,y\n",
            {},
            r"2 repeated rows, 1 of them with another text or label: '0' on lines \[2, 3\]; '1' on lines \[4, 5\]",
            "E302",
        ),
        ("id,text,label\n0,a,x\n,b,y\n", {}, r"train\.csv:3: every row must have an id, got 1 without", "E302"),
        ("id,text,label\n", {}, r"train\.csv: must hold at least one row", "E300"),
    ],
)
def test_D2_D4_D15_D16_wrong_training_files_are_refused(
    tmp_path: Path, train: str, options: dict[str, Any], message: str, code: str
) -> None:
    """Missing or unknown labels, repeated or empty ids and a single class are refused with line, row and remedy."""
    with pytest.raises(DataError, match=message) as caught:
        prepare(_task(tmp_path, train, **options))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("policy", "split"),
    [("drop", {"train": ["0", "2"]}), ("unlabelled", {"train": ["0", "2"], "unlabelled": ["train:1"]})],
)
def test_D2_rows_without_a_label_are_left_out_or_kept_without_one(
    tmp_path: Path, policy: str, split: dict[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """With `missing_labels: drop` rows without a label are left out, with `unlabelled` kept as such; both are counted."""
    table = prepare(_task(tmp_path, "id,text,label\n0,a,x\n1,b,\n2,c,y\n", missing_labels=policy))
    assert {name: table.select("t", name)["row_id"].tolist() for name in split} == split
    assert table.select("t", "unlabelled")["label"].isna().all()
    assert len(table.rows) == 2 + sum(map(len, split.values()))
    assert "1 training rows without a label" in caplog.text


def test_D17_spellings_of_a_label_are_warned_of_and_renamed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Labels that differ in case or blanks are warned of, and become one label by `rename_labels`."""
    train = "id,text,label\n0,a,pos\n1,b,Pos\n2,c,neg\n3,d,pos \n4,e,?\n"
    assert prepare(_task(tmp_path, train)).labels["t"] == ["?", "Pos", "neg", "pos", "pos "]
    assert "labels ['Pos', 'pos', 'pos '] may be one label: see tasks.t.rename_labels" in caplog.text
    caplog.clear()
    names = {"Pos": "pos", "pos ": "pos", "?": ""}
    table = prepare(_task(tmp_path, train, rename_labels=names, missing_labels="drop"))
    assert table.select("t", "train")["label"].tolist() == ["pos", "pos", "neg", "pos"]
    assert table.labels["t"] == ["neg", "pos"] and "may be one label" not in caplog.text


def test_D4_ids_may_recur_in_the_test_file_and_in_another_task(tmp_path: Path) -> None:
    """An id of the training file that the test file has too is another row, and stays one."""
    table = prepare(_task(tmp_path))
    assert set(table.select("t", "train")["row_id"]) & set(table.select("t", "test")["row_id"]) == {"0", "1"}


def test_D4_every_merge_says_how_often_a_row_may_match() -> None:
    """No frames are joined without saying how often an id may match: a repeated one would multiply rows."""
    for path in (Path(preparing.__file__).parent).rglob("*.py"):
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "merge"
        ]
        assert all(any(keyword.arg == "validate" for keyword in call.keywords) for call in calls), path


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("id,text\n", r"test\.csv: must hold at least one row"),
        ("text\nd\n", r"test\.csv:1: has no column 'id'"),
        ("id,text\n5,a\n5,b\n", r"test\.csv: ids must be unique, got 1 repeated"),
    ],
)
def test_D4_D18_wrong_test_files_are_refused(tmp_path: Path, test: str, message: str) -> None:
    """An empty test file, one without the id column and one with repeated ids are refused."""
    with pytest.raises(DataError, match=message):
        prepare(_task(tmp_path, test=test))


def test_a_binary_task_has_two_labels(tmp_path: Path) -> None:
    task = _task(tmp_path, TRAIN + "3,d,z\n")["t"]
    with pytest.raises(DataError, match=r"a task of kind binary must have 2 labels, got 3"):
        prepare({"t": task.model_copy(update={"kind": Component(kind="task_kinds", name="binary")})})


def test_D4_only_the_first_five_repeated_ids_are_shown(tmp_path: Path) -> None:
    """Of many repeated ids the first five are shown, and all are counted."""
    train = "id,text,label\n" + "".join(f"{i % 9},a,{i % 2}\n" for i in range(18))
    with pytest.raises(DataError, match="9 repeated rows") as caught:
        prepare(_task(tmp_path, train))
    assert str(caught.value).count("on lines") == 5


def test_D23_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A raw file that grows while the stage reads it is noticed by its digest, and nothing is made from it."""
    tasks = _task(tmp_path)
    read = preparing.read_columns

    def read_and_append(path: Path, *arguments: Any, **options: Any) -> Any:
        frame = read(path, *arguments, **options)
        if path.name == "train.csv":
            path.write_bytes(path.read_bytes() + b"3,d,y\n")
        return frame

    monkeypatch.setattr(preparing, "read_columns", read_and_append)
    with pytest.raises(DataError, match=r"train\.csv: must stay as it is while it is read, but it changed"):
        prepare(tasks)


@pytest.mark.parametrize("options", [{"metric": "map_at_k"}, {"report_metrics": [{"name": "top_k_accuracy", "k": 3}]}])
def test_a_metric_that_looks_at_more_labels_than_there_are_is_refused_before_training(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(
        ParamsError, match=r"tasks\.t: metric \w+: k must be at most the number of labels, 2, got 3\. Lo"
    ):
        prepare(_task(tmp_path, WORDS, **options))


TEMPLATE = "{title} [SEP] {body}"


def test_a_template_makes_one_text_of_the_cleaned_fields_of_a_row(tmp_path: Path) -> None:
    train = "id,title,body,label\n0,a\x0cb,c,x\n1,,d\x0b,y\n2,e,,x\n3,,,y\n"
    test = "id,head,body\n0,f,g\n"
    columns = Columns(id="id", text=TEMPLATE, text_pair="body", swap=True)
    tasks = _task(tmp_path, train, test, columns=columns, test_columns=TextColumns(text="{head} [SEP] {body}"))
    table = prepare(tasks)
    texts = table.select("t", "train")["text"]
    assert texts.map(readable).tolist() == ["ab [SEP] c", "d", "e", ""] and texts.str.strip().iloc[3] == ""
    assert [fields_of(text) for text in texts] == [["ab", "c"], ["", "d"], ["e", ""], ["", ""]]
    assert table.select("t", "test")["text"].map(readable).tolist() == ["f [SEP] g"]
    assert table.select("t", "train")["text_pair"].tolist() == ["c", "d", "", ""]
    write_table(table, tmp_path / "table.parquet")
    assert read_table(tmp_path / "table.parquet").reading == {"t": Reading(["title", "body", "body"], swap=True)}


def test_a_template_addresses_columns_without_a_header_by_position(tmp_path: Path) -> None:
    columns = Columns(id=0, text="{1}: {2}", label=3)
    table = prepare(_task(tmp_path, "0,a,b,x\n1,c,d,y\n", "5,e,f\n", columns=columns, header=False))
    assert table.rows["text"].map(readable).tolist() == ["a: b", "c: d", "e: f"]


@pytest.mark.parametrize(
    ("train", "test", "file"),
    [("id,titel,body,label\n0,a,b,x\n", TEST, "train"), ("id,title,body,label\n0,a,b,x\n1,a,b,y\n", TEST, "test")],
)  # fmt: skip
def test_a_column_that_a_template_needs_and_a_file_lacks_is_named_with_the_template(
    tmp_path: Path, train: str, test: str, file: str
) -> None:
    tasks = _task(tmp_path, train, test, columns=Columns(id="id", text=TEMPLATE))
    message = (
        rf"{file}\.csv:1: has no column 'title', got .*tasks\.t\.test_columns.*tasks\.t\.columns\.text: a template"
    )
    with pytest.raises(DataError, match=message) as caught:
        prepare(tasks)
    assert caught.value.code == "E303"
