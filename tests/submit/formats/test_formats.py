"""Submission formats: what the competition accepts is written, and every way to spoil it is refused."""

import csv
import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.class_targets import ClassTargets
from pipeline.data.task_kinds.multilabel import Multilabel
from pipeline.data.task_kinds.regression import Regression
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.tasks import FileForm
from pipeline.submit.format import Format, Sample, read_sample
from pipeline.submit.formats import kaggle_csv, tianchi_json
from pipeline.submit.submitting import submission_frame

Mutation = Callable[[str], str | bytes]

IDS = ["007", "1e5", "12", "13", "9007199254740993"]
LABELS = ["bad, really", "good", "so-so"]
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.1, 0.6, 0.3], [0.25, 0.35, 0.4]])
FRAME = submission_frame(IDS, PROBABILITIES, LABELS, kind=ClassTargets())


def sample_of(path: Path, content: bytes | str, **form: Any) -> Sample:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_sample(path, FileForm(**form), key="tasks.main.submission.sample_form")


def sample_file(folder: Path, header: str, rows: list[str]) -> Sample:
    return sample_of(folder / "sample.csv", "\n".join([header, *rows]) + "\n")


def replaced(old: str, new: str) -> Mutation:
    def mutate(text: str) -> str:
        assert old in text, "the mutation must change the file"
        return text.replace(old, new, 1)

    return mutate


def line_moved(text: str) -> str:
    header, first, second, *rest = text.splitlines(keepends=True)
    return "".join([header, second, first, *rest])


def columns_swapped(text: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(row[::-1] for row in csv.reader(io.StringIO(text)))
    return buffer.getvalue()


COMMON = {
    "byte_order_mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "utf_16": lambda text: text.encode("utf-16"),
    "utf_16_without_mark": lambda text: text.encode("utf-16-le"),
    "latin_1": lambda text: text.replace("12,", "é12,").encode("latin-1"),
    "carriage_returns": lambda text: text.replace("\n", "\r\n"),
    "old_mac_line_ends": lambda text: text.replace("\n", "\r"),
    "empty_file": lambda text: "",
    "only_line_ends": lambda text: "\n\n",
    "header_only": lambda text: text.split("\n")[0] + "\n",
    "no_header": lambda text: text.split("\n", 1)[1],
    "header_in_capitals": replaced("id", "ID"),
    "space_in_header": replaced("id", " id"),
    "index_column": lambda text: "".join(
        f"{'' if number == 0 else number - 1},{line}\n" for number, line in enumerate(text.splitlines())
    ),
    "extra_column": lambda text: "".join(f"{line},0\n" for line in text.splitlines()),
    "column_order": columns_swapped,
    "missing_first_row": lambda text: "".join(text.splitlines(keepends=True)[:1] + text.splitlines(keepends=True)[2:]),
    "missing_last_row": lambda text: "".join(text.splitlines(keepends=True)[:-1]),
    "cut_in_last_line": lambda text: text[:-2],
    "no_last_line_end": lambda text: text[:-1],
    "cut_in_the_middle": lambda text: text[: len(text) // 2],
    "duplicate_row": lambda text: text + text.splitlines(keepends=True)[-1],
    "duplicate_id": replaced("\n13,", "\n12,"),
    "order_of_rows": line_moved,
    "id_cast_to_int": replaced("\n007,", "\n7,"),
    "id_cast_to_float": replaced("\n12,", "\n12.0,"),
    "id_in_other_notation": replaced("\n1e5,", "\n100000.0,"),
    "id_beyond_float": replaced("9007199254740993", "9007199254740992"),
    "unknown_row": lambda text: text + "99" + text.splitlines(keepends=True)[-1][len(IDS[-1]) :],
    "semicolons": lambda text: text.replace(",", ";"),
    "tabs": lambda text: text.replace(",", "\t"),
    "blank_line": replaced("\n12,", "\n\n12,"),
    "open_quote": replaced("\n12,", '\n"12,'),
    "nul_byte": replaced("\n12,", "\n12\0,"),
}
LABEL_MUTATIONS = {
    "label_index": replaced("12,so-so", "12,2"),
    "unknown_label": replaced("12,so-so", "12,great"),
    "label_in_capitals": replaced("12,so-so", "12,So-so"),
    "empty_label": replaced("12,so-so", "12,"),
    "space_before_label": replaced("12,so-so", "12, so-so"),
    "space_after_label": replaced("12,so-so", "12,so-so "),
    "another_valid_label": replaced("12,so-so", "12,good"),
    "unquoted_comma": replaced('"bad, really"', "bad, really"),
    "constant_label": lambda text: re.sub(r"(?m)^([^,]+),(?!label).*$", r"\1,good", text),
}
PROBABILITY_MUTATIONS = {
    "nan": replaced("0.6", "nan"),
    "infinite": replaced("0.6", "inf"),
    "negative": replaced("0.6", "-0.6"),
    "above_one": replaced("0.6", "1.6"),
    "sum_not_one": replaced("0.6", "0.60001"),
    "empty_probability": replaced("0.6", ""),
    "a_word": replaced("0.6", "high"),
    "decimal_comma": replaced("0.6", '"0,6"'),
    "label_columns_swapped": replaced("good,so-so", "so-so,good"),
    "another_valid_distribution": replaced("12,0.2,0.2,0.6", "12,0.2,0.3,0.5"),
}


# The catalogue's mutants in its order; further ones stand above without a number.
CATALOGUE = [
    "byte_order_mark", "carriage_returns", "index_column", "column_order", "header_in_capitals", "extra_column",
    "missing_last_row", "duplicate_row", "duplicate_id", "order_of_rows", "id_cast_to_int", "id_cast_to_float",
    "label_index", "empty_label", "space_after_label", "constant_label", "cut_in_last_line", "cut_in_the_middle",
    "semicolons", "utf_16", "empty_file",
]  # fmt: skip


def spoil(path: Path, mutate: Mutation) -> None:
    text = path.read_text(encoding="utf-8")
    spoilt = mutate(text)
    content = spoilt if isinstance(spoilt, bytes) else spoilt.encode()
    assert content != text.encode()
    path.write_bytes(content)


@pytest.mark.parametrize("with_sample", [True, False])
@pytest.mark.parametrize("name", [*COMMON, *LABEL_MUTATIONS])
def test_S1_to_S21_I14_a_spoilt_file_of_labels_is_refused(name: str, with_sample: bool, tmp_path: Path) -> None:
    """The file that was written is accepted; spoilt in any of the catalogue's 21 ways, and 21 more, it is refused."""
    samples = {"main": sample_file(tmp_path, "id,label", [f"{i},good" for i in IDS]) if with_sample else None}
    form = kaggle_csv.build()
    path = form.write({"main": FRAME}, samples, tmp_path)
    form.check(path, {"main": FRAME}, samples)
    spoil(path, {**COMMON, **LABEL_MUTATIONS}[name])
    with pytest.raises(DataError, match=r"submission\.csv: ") as caught:
        form.check(path, {"main": FRAME}, samples)
    assert caught.value.code == "E310"


def test_S1_to_S21_all_mutants_of_the_catalogue_are_tried() -> None:
    """Each of the 21 mutants of the catalogue is one of those that are tried."""
    assert len(CATALOGUE) == 21 and set(CATALOGUE) <= {*COMMON, *LABEL_MUTATIONS}


@pytest.mark.parametrize("name", [*COMMON, *PROBABILITY_MUTATIONS])
def test_S1_to_S21_a_spoilt_file_of_probabilities_is_refused(name: str, tmp_path: Path) -> None:
    """Probabilities must be finite, in [0, 1], sum to 1 within 1e-6 and be those predicted; the file is spoilt in 43 ways."""
    form = kaggle_csv.build(values="probabilities")
    path = form.write({"main": FRAME}, {"main": None}, tmp_path)
    form.check(path, {"main": FRAME}, {"main": None})
    spoil(path, {**COMMON, **PROBABILITY_MUTATIONS}[name])
    with pytest.raises(DataError, match=r"submission\.csv: "):
        form.check(path, {"main": FRAME}, {"main": None})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("byte_order_mark", "must be UTF-8 without a byte-order mark, got ef bb bf 69. Save it so"),
        ("carriage_returns", "got a carriage return in line 1. Use Unix line ends"),
        ("cut_in_last_line", "(cut off?)"),
        ("column_order", "must have the columns ['id', 'label'], got ['label', 'id']"),
        ("semicolons", "must have the columns ['id', 'label'], got ['id;label']"),
        ("blank_line", "line 4 must have 2 fields, got []"),
        ("order_of_rows", "row 1 must have id '007', got '1e5'"),
        ("duplicate_id", "each id must stand once, got several times: 1 ('12')"),
        ("id_cast_to_int", "missing: 1 ('007'); unknown: 1 ('7')"),
        ("missing_last_row", "must have the 5 wanted ids, got 4 rows; missing: 1 ('9007199254740993')"),
        ("label_index", "row 3 must have a label of ['bad, really', 'good', 'so-so'], got '2'"),
        ("another_valid_label", "row 3 was predicted as 'so-so', got 'good'"),
    ],
)
def test_the_error_says_what_is_wrong_and_where(name: str, message: str, tmp_path: Path) -> None:
    form = kaggle_csv.build()
    path = form.write({"main": FRAME}, {}, tmp_path)
    spoil(path, {**COMMON, **LABEL_MUTATIONS}[name])
    with pytest.raises(DataError, match=re.escape(message)):
        form.check(path, {"main": FRAME}, {})


def test_predictions_that_do_not_sum_to_one_are_refused_on_reading_back(tmp_path: Path) -> None:
    frame = FRAME.assign(**{"probability:good": FRAME["probability:good"] + 2e-6})
    form = kaggle_csv.build(values="probabilities")
    path = form.write({"main": frame}, {}, tmp_path)
    with pytest.raises(DataError, match=r"line 2 must sum to 1 within 1e-06, got 1\.000002"):
        form.check(path, {"main": frame}, {})


def test_I14_labels_are_written_in_the_form_of_the_sample(tmp_path: Path) -> None:
    """Ids, their order, the header and the label names are the sample's."""
    sample = sample_file(tmp_path, "Row Id,Target", [f"{i},good" for i in reversed(IDS)])
    path = kaggle_csv.build().write({"main": FRAME}, {"main": sample}, tmp_path)
    assert path.read_bytes().decode() == (
        'Row Id,Target\n9007199254740993,so-so\n13,good\n12,so-so\n1e5,good\n007,"bad, really"\n'
    )


def test_without_a_sample_the_order_is_that_of_the_test_file(tmp_path: Path) -> None:
    form = kaggle_csv.build(id_column="qid", label_column="answer", file_name="upload.csv")
    path = form.write({"main": FRAME}, {"main": None}, tmp_path)
    assert path.name == "upload.csv"
    assert path.read_text().splitlines()[:3] == ["qid,answer", '007,"bad, really"', "1e5,good"]


def test_I14_probabilities_stand_in_the_columns_of_the_sample(tmp_path: Path) -> None:
    """Columns of probabilities stand in the sample's order, joined by name."""
    sample = sample_file(tmp_path, 'id,so-so,"bad, really",good', [f"{i},0,0,1" for i in IDS])
    form = kaggle_csv.build(values="probabilities")
    path = form.write({"main": FRAME}, {"main": sample}, tmp_path)
    form.check(path, {"main": FRAME}, {"main": sample})
    assert path.read_text().splitlines()[:2] == ['id,so-so,"bad, really",good', "007,0.1,0.7,0.2"]


def test_a_binary_task_gets_the_probability_of_the_second_label(tmp_path: Path) -> None:
    frame = submission_frame(["a", "b"], np.array([[0.75, 0.25], [1.0, 0.0]]), ["0", "1"], kind=ClassTargets())
    form = kaggle_csv.build(values="probabilities", label_column="target")
    path = form.write({"main": frame}, {"main": None}, tmp_path)
    form.check(path, {"main": frame}, {"main": None})
    assert path.read_text() == "id,target\na,0.25\nb,0.0\n"
    sample = sample_file(tmp_path, "id,0", ["a,0", "b,0"])  # a header that names a label means its probability
    assert form.write({"main": frame}, {"main": sample}, tmp_path).read_text() == "id,0\na,0.75\nb,1.0\n"


SEVERAL = submission_frame(["a", "b"], np.array([[0.9, 0.2, 0.7], [0.1, 0.1, 0.1]]), ["x", "y", "z"], kind=Multilabel())


@pytest.mark.parametrize(
    ("values", "header", "lines"),
    [
        ("labels", "id,names", ["a,x z", "b,"]),
        ("labels", "id,z,x,y", ["a,1,1,0", "b,0,0,0"]),
        ("probabilities", "id,z,x,y", ["a,0.7,0.9,0.2", "b,0.1,0.1,0.1"]),
    ],
)
def test_several_labels_of_a_row_stand_in_the_form_of_the_sample(
    values: str, header: str, lines: list[str], tmp_path: Path
) -> None:
    sample = sample_file(tmp_path, header, [f"{i},{'z x' if header == 'id,names' else '0,0,1'}" for i in "ab"])
    form = kaggle_csv.build(values=values)  # type: ignore[arg-type]
    path = form.write({"main": SEVERAL}, {"main": sample}, tmp_path)
    form.check(path, {"main": SEVERAL}, {"main": sample})
    assert path.read_text().splitlines() == [header, *lines]
    spoilt = path.read_text().replace("b,0,", "b,1,").replace("x z", "x").replace("0.9", "0.8")
    path.write_text(spoilt)
    with pytest.raises(DataError, match="was predicted as"):
        form.check(path, {"main": SEVERAL}, {"main": sample})
    with pytest.raises(DataError, match=r"(must have the labels|must have two columns, or) .*'x', 'y', 'z'"):
        form.write({"main": SEVERAL}, {"main": sample_file(tmp_path, "id,z,x,q", ["a,0,0,0"])}, tmp_path)


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        ("id,names", "x w", r"must be names of labels of task main, \['x', 'y', 'z'\], got \['x w'\]. Set .*rename_labels"),
        ("id,names", "0", r"must be names of labels .* got \['0'\].* sample_values: placeholders"),
        ("id,x,y,z", "0,0.5,0", r"must be 0 or 1 for each label of task main, got \['0.5'\].*values: probabilities"),
    ],
)  # fmt: skip
def test_D16_a_sample_that_has_several_labels_in_another_form_asks(
    header: str, cells: str, message: str, tmp_path: Path
) -> None:
    """Names that are no labels, or numbers other than 0 and 1 in a label's column, are refused before training."""
    sample = sample_file(tmp_path, header, [f"{row},{cells}" for row in "ab"])
    with pytest.raises(DataError, match=message):
        kaggle_csv.build().write({"main": SEVERAL}, {"main": sample}, tmp_path)
    assert kaggle_csv.build(sample_values="placeholders").write({"main": SEVERAL}, {"main": sample}, tmp_path).exists()


RANKED = submission_frame(
    ["a", "b"], np.array([[0.2, 0.5, 0.3], [0.25, 0.25, 0.5]]), ["x", "y", "z"], kind=ClassTargets()
)


@pytest.mark.parametrize(
    ("frame", "k", "lines"),
    [
        (RANKED, 2, ["a,y z", "b,z x"]),  # of equal ones the one that is listed first
        (RANKED, 3, ["a,y z x", "b,z x y"]),
        (SEVERAL, 2, ["a,x z", "b,x y"]),
    ],
)
def test_the_likeliest_labels_stand_with_blanks_between_them_the_best_first(
    frame: pd.DataFrame, k: int, lines: list[str], tmp_path: Path
) -> None:
    sample = sample_file(tmp_path, "id,best", [f"a,{' '.join('xyz'[:k])}", "b,"])
    for samples in ({"main": sample}, {}):
        form = kaggle_csv.build(values="top_k", k=k, label_column="best")
        path = form.write({"main": frame}, samples, tmp_path)
        form.check(path, {"main": frame}, samples)
        assert path.read_text().splitlines() == ["id,best", *lines]
    for row in (lines[0][:-2], "a,z y", f"{lines[0]} q"):  # one too few, another order, one too many
        path.write_text(path.read_text().replace(lines[0], row))
        with pytest.raises(DataError, match=rf"row 1 was predicted as '{lines[0][2:]}'"):
            form.check(path, {"main": frame}, {})
        path.write_text(path.read_text().replace(row, lines[0]))


@pytest.mark.parametrize(
    ("options", "header", "cells", "message"),
    [
        ({"k": 2}, "id,best", "x y z", r"must be 2 labels of task main each, got 3\. Set k: 3 in tasks\.main\.submission"),
        ({"k": 2}, "id,best", "x", r"must be 2 labels of task main each, got 1\. Set k: 1"),
        ({"k": 2}, "id,best", "x w", r"must be 2 labels .* of \['x', 'y', 'z'\], got \['w'\]\. Set .*: {<label>"),
        ({"k": 2}, "id,best", "X Z", r"got \['X', 'Z'\]\. Set tasks\.main\.rename_labels: {\"x\": \"X\", \"y\": \"Y\""),
        ({"k": 2}, "id,x,y,z", "0,0,0", r"with top_k of 3 labels must have two columns, got \['id', 'x'"),
        ({"values": "labels"}, "id,best", "y z", r"likeliest labels of each row\? Set values: top_k and k: 2 in tasks\.main"),
    ],
)  # fmt: skip
def test_D16_a_sample_of_the_likeliest_labels_is_known_and_compared(
    options: dict[str, Any], header: str, cells: str, message: str, tmp_path: Path
) -> None:
    """Another number of labels per row than `k`, or names that are no labels, are refused before training."""
    sample = sample_file(tmp_path, header, [f"{row},{cells}" for row in "ab"])
    with pytest.raises(DataError, match=message):
        kaggle_csv.build(**{"values": "top_k", **options}).write({"main": RANKED}, {"main": sample}, tmp_path)


def test_more_labels_than_there_are_and_labels_with_blanks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ParamsError, match=r"format: k must be at most the number of labels of task main, 3, got 4\. Lower"
    ):
        kaggle_csv.build(values="top_k", k=4).write({"main": RANKED}, {}, tmp_path)
    with pytest.raises(
        DataError, match=r"hold no blank, .* got 'bad, really'\. Rename it in tasks\.main\.rename_labels"
    ):
        kaggle_csv.build(values="top_k").write({"main": FRAME}, {}, tmp_path)


def test_several_labels_without_ids_stand_in_the_order_of_the_test_file(tmp_path: Path) -> None:
    sample = sample_file(tmp_path, "z,x,y", ["0,0,0", "0,1,0"])
    form = kaggle_csv.build()
    path = form.write({"main": SEVERAL}, {"main": sample}, tmp_path)
    form.check(path, {"main": SEVERAL}, {"main": sample})
    assert path.read_text() == "z,x,y\n1,1,0\n0,0,0\n"


NUMBERS = submission_frame(["a", "b"], np.array([[1.5, -2e-7], [-30.25, 0.1]]), ["x", "y"], kind=Regression())
NUMBER = submission_frame(["a", "b"], np.array([[1.5], [-30.25]]), ["target"], kind=Regression())


@pytest.mark.parametrize(
    ("frame", "header", "sample", "lines"),
    [
        (NUMBERS, "id,y,x", "0,0", ["a,-2e-07,1.5", "b,0.1,-30.25"]),
        (NUMBERS, "id,x,y", None, ["a,1.5,-2e-07", "b,-30.25,0.1"]),
        (NUMBER, "id,score", "0.5", ["a,1.5", "b,-30.25"]),
        (NUMBER, "id,label", None, ["a,1.5", "b,-30.25"]),
    ],
)
def test_numbers_stand_in_the_columns_of_the_sample(
    frame: pd.DataFrame, header: str, sample: str | None, lines: list[str], tmp_path: Path
) -> None:
    given = None if sample is None else sample_file(tmp_path, header, [f"{row},{sample}" for row in "ab"])
    form = kaggle_csv.build()
    path = form.write({"main": frame}, {"main": given}, tmp_path)
    form.check(path, {"main": frame}, {"main": given})
    assert path.read_text().splitlines() == [header, *lines]
    text = path.read_text()
    for old, new, message in (
        ("1.5", "1.25", "was predicted as"), ("1.5", "high", "must hold numbers"), ("1.5", "nan", "must hold finite numbers"),
    ):  # fmt: skip
        path.write_text(text.replace(old, new))
        with pytest.raises(DataError, match=message):
            form.check(path, {"main": frame}, {"main": given})


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        ("id,x,y", "0,high", r"its values must be numbers of task main, got \['high'\].*sample_values: placeholders"),
        ("id,x,z", "0,0", r"must have the labels \['x', 'y'\] beside the id, got \['x', 'z'\]"),
        ("id,x", "0", r"must have the labels \['x', 'y'\] beside the id, got \['x'\]"),
    ],
)
def test_a_sample_that_holds_no_numbers_or_other_columns_asks(
    header: str, cells: str, message: str, tmp_path: Path
) -> None:
    """A sample of other values or columns than the targets is refused before training."""
    sample = sample_file(tmp_path, header, [f"{row},{cells}" for row in "ab"])
    with pytest.raises(DataError, match=message):
        kaggle_csv.build().write({"main": NUMBERS}, {"main": sample}, tmp_path)


def test_probabilities_of_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ParamsError, match=r"tasks.main.submission.format.values: must be labels where targets are numbers"
    ):
        kaggle_csv.build(values="probabilities").write({"main": NUMBERS}, {"main": None}, tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_predictions_that_are_no_probabilities_are_refused_on_reading_back(bad: float, tmp_path: Path) -> None:
    frame = FRAME.assign(**{"probability:good": bad})
    form = kaggle_csv.build(values="probabilities")
    path = form.write({"main": frame}, {"main": None}, tmp_path)
    with pytest.raises(DataError, match=r"line 2 must hold probabilities in \[0, 1\]"):
        form.check(path, {"main": frame}, {"main": None})


LINES = ["id,label", *(f"{i},good" for i in reversed(IDS))]


def gzipped(text: str) -> bytes:
    return gzip.compress(text.encode())


SAMPLES: dict[str, tuple[str, Callable[[str], str | bytes], dict[str, Any]]] = {
    "byte order mark and CR LF": ("s.csv", lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), {}),
    "CR CR LF": ("s.csv", lambda text: text.replace("\n", "\r\r\n"), {}),
    "zip": ("s.zip", lambda text: archive_of({"in/s.csv": text}), {}),
    "gzip": ("s.csv.gz", gzipped, {}),
    "UTF-16": ("s.csv", lambda text: text.encode("utf-16"), {"encoding": "utf-16"}),
    "json lines": ("s.jsonl", lambda text: "".join(f'{{"id": "{i}", "label": ""}}\n' for i in reversed(IDS)), {}),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_I14_a_sample_is_read_in_every_form_in_which_a_training_file_is(name: str, tmp_path: Path) -> None:
    """A sample may be packed, in another encoding, JSON or with any line ends, as the other files may."""
    file, write, form = SAMPLES[name]
    sample = sample_of(tmp_path / file, write("\n".join(LINES) + "\n"), **form)
    path = kaggle_csv.build().write({"main": FRAME}, {"main": sample}, tmp_path)
    rows = [f"{row_id},{label}" for row_id, label in zip(FRAME["row_id"], FRAME["label"].map(quoted), strict=True)]
    assert path.read_text(encoding="utf-8").splitlines() == ["id,label", *reversed(rows)]


def quoted(label: str) -> str:
    return f'"{label}"' if "," in label else label


@pytest.mark.parametrize(("file", "separator"), [("s.tsv", None), ("s.csv", "\t"), ("s.csv", ";")])
def test_I14_the_submission_has_the_separator_of_the_sample(file: str, separator: str | None, tmp_path: Path) -> None:
    """A sample separated by tabs or semicolons makes a submission that is; one that does not show it is asked about."""
    text = "\n".join(LINES).replace(",", separator or "\t")
    sample, form = sample_of(tmp_path / file, text, separator=separator), kaggle_csv.build()
    path = form.write({"main": FRAME}, {"main": sample}, tmp_path)
    form.check(path, {"main": FRAME}, {"main": sample})
    assert path.read_text(encoding="utf-8").startswith(f"id{separator or chr(9)}label\n9007199254740993")
    if separator is not None:
        with pytest.raises(DataError, match=r"separated by ','.*Set tasks\.main\.submission\.sample_form\.separator"):
            sample_of(tmp_path / file, text)


@pytest.mark.parametrize(
    ("values", "header", "cells"),
    [
        ("labels", "label,key", "good,{}"),
        ("labels", "label", "good"),
        ("probabilities", 'good,"bad, really",key,so-so', "0,0,{},1"),
        ("probabilities", 'good,"bad, really",so-so', "0,0,1"),
    ],
)
def test_I14_the_ids_stand_where_the_sample_has_them_or_nowhere(
    values: Any, header: str, cells: str, tmp_path: Path
) -> None:
    """A sample with the ids last, or in the middle, or without ids in the order of the test file, is obeyed."""
    sample = sample_file(tmp_path, header, [cells.format(i) for i in IDS])
    form, frames, samples = kaggle_csv.build(values=values), {"main": FRAME}, {"main": sample}
    path = form.write(frames, samples, tmp_path)
    form.check(path, frames, samples)
    written = pd.read_csv(path, dtype=str, float_precision="round_trip")
    assert ",".join(written) == header.replace('"', "") and len(written) == len(IDS)
    if "key" in written:
        assert written["key"].tolist() == IDS
    if "label" in written:
        assert written["label"].tolist() == FRAME["label"].tolist()
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[2], lines[1], *lines[3:]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"submission\.csv: "):
        form.check(path, frames, samples)
    path.write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(DataError, match=r"submission\.csv: must have"):
        form.check(path, frames, samples)


def test_I14_a_sample_without_a_header_makes_a_submission_without_one(tmp_path: Path) -> None:
    """Where the sample has no header the submission has none."""
    sample = sample_of(tmp_path / "s.tsv", "".join(f"{i}\tgood\n" for i in IDS), header=False)
    form = kaggle_csv.build()
    path = form.write({"main": FRAME}, {"main": sample}, tmp_path)
    form.check(path, {"main": FRAME}, {"main": sample})
    assert path.read_text(encoding="utf-8").startswith("007\tbad, really\n")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([*IDS[1:], "20"], r"only in the sample: 1 \('20'\); only in the test file: 1 \('007'\)"),
        (IDS[:3], r"\(5 rows\), got 3 rows; only in the sample: none; only in the test file: 2 \('13', '90"),
        ([*IDS, "12"], r"sample\.csv: each id must stand once, got several times: 1 \('12'\)"),
        (["7", *IDS[1:]], r"only in the sample: 1 \('7'\); only in the test file: 1 \('007'\)"),
    ],
)
def test_D18_a_sample_that_disagrees_with_the_test_file_writes_nothing(
    ids: list[str], message: str, tmp_path: Path
) -> None:
    """A sample with other, fewer, more or repeated ids than the test file is refused with both counts; nothing is written."""
    sample = sample_file(tmp_path, "id,label", [f"{i},good" for i in ids])
    with pytest.raises(DataError, match=message):
        kaggle_csv.build().write({"main": FRAME}, {"main": sample}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.csv"]


@pytest.mark.parametrize(
    ("values", "header", "message"),
    [
        ("labels", "id,good,so-so", "must have two columns.*Did you want values: probabilities"),
        ("probabilities", "id,label", "must have the labels .* beside the id, got .'label'."),
        ("probabilities", "id,good,so-so,bad", "must have the labels"),
    ],
)
def test_D16_D18_a_sample_of_another_shape_is_refused(values: str, header: str, message: str, tmp_path: Path) -> None:
    """A sample whose columns name other labels than the training file, or of another shape, is refused."""
    blanks = "," * header.count(",")
    sample = sample_file(tmp_path, header, [f"{i}{blanks}" for i in IDS])
    with pytest.raises(DataError, match=message):
        kaggle_csv.build(values=values).write({"main": FRAME}, {"main": sample}, tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [b"", b"id,label\n", b"id\n1\n", "\n".join(["id", *IDS]).encode(), b"id,label\n1\n", b"id,label\n\xff,x\n"],
)
def test_D18_an_unreadable_sample_is_refused(content: bytes, tmp_path: Path) -> None:
    """An empty, one-column or undecodable sample is refused."""
    with pytest.raises(
        DataError, match=r"sample\.csv:(\d:)? (without ids it )?(must|is) .* (again|there|Mend|in another)"
    ):
        sample = sample_of(tmp_path / "sample.csv", content)
        kaggle_csv.build().write({"main": FRAME}, {"main": sample}, tmp_path)


def test_several_tasks_do_not_fit_into_one_csv(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"takes one task, got \['a', 'b'\]\. Choose tianchi_json"):
        kaggle_csv.build().write({"a": FRAME, "b": FRAME}, {}, tmp_path)


def test_D4_an_id_that_stands_twice_in_the_test_file_is_refused(tmp_path: Path) -> None:
    """A test file with an id twice makes no submission."""
    frame = pd.concat([FRAME, FRAME.iloc[:1]], ignore_index=True)
    with pytest.raises(DataError, match="test file of task main: each id must stand once, got several times: 1"):
        kaggle_csv.build().write({"main": frame}, {"main": None}, tmp_path)


FORMS: list[Callable[[], Format]] = [kaggle_csv.build, tianchi_json.build]


@pytest.mark.parametrize("build", FORMS)
def test_a_constant_prediction_only_warns(
    build: Callable[[], Format], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = submission_frame(IDS, np.tile([[0.2, 0.5, 0.3]], (5, 1)), LABELS, kind=ClassTargets())
    form = build()
    form.check(form.write({"main": frame}, {}, tmp_path), {"main": frame}, {})
    assert "all 5 rows have the label 'good'" in caplog.text


@settings(max_examples=40, deadline=None)
@given(
    ids=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1), unique=True)
)
def test_H1_I14_any_ids_survive_the_round_trip(ids: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the ids hold, the written file is read back as it was meant."""
    folder = tmp_path_factory.mktemp("ids")
    frame = submission_frame(
        ["first", *(f"{i}." for i in ids)], np.tile([[0.1, 0.2, 0.7]], (len(ids) + 1, 1)), LABELS, kind=ClassTargets()
    )
    for build in FORMS:
        form = build()
        form.check(form.write({"main": frame}, {}, folder), {"main": frame}, {})


TASKS = {"first": FRAME, "second": FRAME.iloc[::-1].reset_index(drop=True)}


def archive_of(contents: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def first_changed(change: Mutation) -> Callable[[dict[str, str]], bytes]:
    def mutate(contents: dict[str, str]) -> bytes:
        changed = change(contents["first_predict.json"])
        assert changed != contents["first_predict.json"]
        return archive_of({**contents, "first_predict.json": changed})

    return mutate


def one_array(text: str) -> str:
    return json.dumps([json.loads(line) for line in text.splitlines()]) + "\n"


ZIP_MUTATIONS: dict[str, Callable[[dict[str, str]], bytes]] = {
    "empty_file": lambda contents: b"",
    "not_a_zip": lambda contents: contents["first_predict.json"].encode(),
    "cut_off": lambda contents: archive_of(dict(contents))[:-30],
    "damaged": lambda contents: archive_of(dict(contents)).replace(b"so-so", b"so-sa", 1),
    "task_missing": lambda contents: archive_of({"first_predict.json": contents["first_predict.json"]}),
    "extra_file": lambda contents: archive_of({**contents, "notes.txt": "x"}),
    "in_a_folder": lambda contents: archive_of({f"out/{name}": text for name, text in contents.items()}),
    "file_in_capitals": lambda contents: archive_of({name.upper(): text for name, text in contents.items()}),
    "tasks_swapped": lambda contents: archive_of(dict(zip(contents, reversed(contents.values()), strict=True))),
    "byte_order_mark": first_changed(lambda text: b"\xef\xbb\xbf" + text.encode()),
    "utf_16": first_changed(lambda text: text.encode("utf-16")),
    "carriage_returns": first_changed(lambda text: text.replace("\n", "\r\n")),
    "empty_task": first_changed(lambda text: ""),
    "missing_row": first_changed(lambda text: text.split("\n", 1)[1]),
    "duplicate_row": first_changed(lambda text: text + text.splitlines(keepends=True)[-1]),
    "duplicate_id": first_changed(replaced('"13"', '"12"')),
    "order_of_rows": first_changed(line_moved),
    "no_last_line_end": first_changed(lambda text: text[:-1]),
    "cut_in_a_line": first_changed(lambda text: text[:-5] + "\n"),
    "one_array": first_changed(one_array),
    "id_as_number": first_changed(replaced('"12"', "12")),
    "id_cast_to_int": first_changed(replaced('"007"', '"7"')),
    "label_index": first_changed(replaced('"so-so"', "2")),
    "label_index_as_text": first_changed(replaced('"so-so"', '"2"')),
    "unknown_label": first_changed(replaced('"so-so"', '"great"')),
    "space_in_label": first_changed(replaced('"so-so"', '"so-so "')),
    "another_valid_label": first_changed(replaced('"so-so"', '"good"')),
    "null_label": first_changed(replaced('"so-so"', "null")),
    "extra_key": first_changed(replaced('"so-so"', '"so-so", "score": 1')),
    "other_key": first_changed(replaced('"label"', '"Label"')),
    "blank_line": first_changed(replaced("\n", "\n\n")),
}


@pytest.mark.parametrize("name", ZIP_MUTATIONS)
def test_S1_to_S21_a_spoilt_zip_is_refused(name: str, tmp_path: Path) -> None:
    """A zip of JSON lines is accepted as it was written and refused when spoilt in any of 31 ways."""
    form = tianchi_json.build()
    path = form.write(TASKS, {}, tmp_path)
    with zipfile.ZipFile(path) as archive:
        contents = {member: archive.read(member).decode() for member in archive.namelist()}
    path.write_bytes(archive_of(dict(contents)))
    form.check(path, TASKS, {})
    path.write_bytes(ZIP_MUTATIONS[name](contents))
    with pytest.raises(DataError, match=r"submission\.zip"):
        form.check(path, TASKS, {})


def test_a_value_that_is_no_text_is_named_with_its_line(tmp_path: Path) -> None:
    form = tianchi_json.build()
    path = form.write({"first": FRAME}, {}, tmp_path)
    lines = [json.dumps({"id": int(i) if i == "12" else i, "label": "good"}) + "\n" for i in IDS]
    path.write_bytes(archive_of({"first_predict.json": "".join(lines)}))
    with pytest.raises(DataError, match=r'line 3 must be \{"id": text, "label": text\}, got \{"id": 12'):
        form.check(path, {"first": FRAME}, {})


def test_each_task_is_a_file_of_json_lines_with_text_values(tmp_path: Path) -> None:
    path = tianchi_json.build(file_names={"second": "two.json"}).write(TASKS, {}, tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["first_predict.json", "two.json"]
        assert archive.read("two.json").split(b"\n")[0] == b'{"id": "9007199254740993", "label": "so-so"}'


def test_equal_predictions_give_equal_bytes_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tianchi_json.build().write(TASKS, {}, tmp_path).read_bytes()
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert tianchi_json.build().write(TASKS, {}, tmp_path).read_bytes() == first


def test_a_sample_of_json_lines_gives_the_order(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"id": i, "label": ""}) + "\n" for i in reversed(IDS))
    sample = sample_of(tmp_path / "sample.json", lines)
    form = tianchi_json.build()
    path = form.write({"first": FRAME}, {"first": sample}, tmp_path)
    form.check(path, {"first": FRAME}, {"first": sample})
    with zipfile.ZipFile(path) as archive:
        written = archive.read("first_predict.json").decode().splitlines()
    assert [json.loads(line)["id"] for line in written] == IDS[::-1]


@pytest.mark.parametrize(
    ("file_names", "message"),
    [
        ({"third": "x.json"}, r"must name tasks of \['first', 'second'\], got \['third'\]"),
        ({"first": "second_predict.json"}, "each task must have its own file"),
    ],
)
def test_names_in_the_zip_must_fit_the_tasks(file_names: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=message):
        tianchi_json.build(file_names=file_names).write(TASKS, {}, tmp_path)
