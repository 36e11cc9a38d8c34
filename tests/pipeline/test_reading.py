"""Reading keeps every byte and refuses what would silently lose or shift rows."""

import csv
import gzip
import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import reading
from pipeline.delimited import parse_delimited
from pipeline.exceptions import DataError
from pipeline.reading import read_columns

TRAPS = ["001", "1e5", "NA", "None", "null", "nan", "N/A", "9007199254740993", " spaced ", "=1+1"]
ROWS = [{"id": str(i), "text": trap, "label": trap} for i, trap in enumerate(TRAPS)]


def _write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def _encoded(format: str) -> bytes:
    if format == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    if format == "json":
        return json.dumps(ROWS).encode()
    if format == "parquet":
        buffer = io.BytesIO()
        pd.DataFrame(ROWS).to_parquet(buffer)
        return buffer.getvalue()
    separator = {"csv": ",", "tsv": "\t"}[format]
    lines = [separator.join(row.values()) for row in [{"id": "id", "text": "text", "label": "label"}, *ROWS]]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("packing", ["", ".gz", ".zip"])
@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_every_format_and_packing_keeps_values_as_text(tmp_path: Path, format: str, packing: str) -> None:
    path = tmp_path / f"train.{format}{packing}"
    if packing == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inner/", "")
            archive.writestr("__MACOSX/._train", "x")
            archive.writestr(f"inner/train.{format}", _encoded(format))
    else:
        path.write_bytes(gzip.compress(_encoded(format)) if packing else _encoded(format))
    frame = read_columns(path, ["id", "text", "label"])
    assert frame["text"].tolist() == TRAPS == frame["label"].tolist()
    assert frame["id"].tolist() == [row["id"] for row in ROWS]


def test_numbers_of_json_keep_their_text_and_null_is_missing(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.jsonl", '{"id": 9007199254740993, "x": 1e5, "y": null}\n\n{"id": 2, "x": NaN, "y": true}\n'
    )
    frame = read_columns(path, ["id", "x", "y"])
    assert frame["id"].tolist() == ["9007199254740993", "2"]
    assert frame["x"].tolist() == ["1e5", "NaN"]
    assert frame["y"].tolist() == ["", "true"]
    assert frame["line"].tolist() == [1, 3]


def test_a_lone_surrogate_of_json_becomes_the_replacement_character(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", r'{"text": "a\ud800b \ud83d\ude00"}')
    assert read_columns(path, ["text"])["text"].tolist() == ["a\ufffdb 😀"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=3, max_size=3),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([",", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_quotes_comes_back_unchanged(rows: list[list[str]], separator: str, line_end: str) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator=line_end).writerows(rows)
    content = buffer.getvalue().encode()
    try:
        parsed = parse_delimited(content, name="f", separator=separator.encode(), quoting=True)
    except DataError as error:
        assert "swallows" in str(error) and any("\n" in field and separator in field for row in rows for field in row)
        return
    assert [parsed.record(i) for i in range(len(rows))] == rows


@pytest.mark.parametrize("break_", ["\r", "\u2028", "\u0085", "\x00", "\x1a", "\x0b", "\x0c"])
@pytest.mark.parametrize("quoting", [True, False])
def test_only_newlines_split_rows(tmp_path: Path, break_: str, quoting: bool) -> None:
    path = _write(tmp_path / "a.csv", f"id,text\n1,a{break_}b\n2,c\n")
    assert read_columns(path, ["text"], quoting=quoting)["text"].tolist() == [f"a{break_}b", "c"]


def test_newlines_in_quoted_fields_stay_and_lines_are_physical(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", '\ufeffid,text\r\n1,"a\r\nb ""x"", c"\r\n\r\n2,plain "quoted" end\r\n')
    frame = read_columns(path, ["id", "text"])
    assert frame["text"].tolist() == ['a\r\nb "x", c', 'plain "quoted" end']
    assert frame["line"].tolist() == [2, 5]


def test_a_field_of_megabytes_is_read(tmp_path: Path) -> None:
    text = 'word "" ' * 700_000
    path = _write(tmp_path / "a.csv", f'id,text\n1,"{text}"\n2,b\n')
    assert read_columns(path, ["text"])["text"].str.len().tolist() == [len(text) - 700_000, 1]


def test_headerless_columns_are_addressed_by_position(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", '0\the said "no\tx\n1\tb\ty\n')
    frame = read_columns(path, [0, 1], format="tsv", header=False, quoting=False)
    assert frame[[0, 1]].to_numpy().tolist() == [["0", 'he said "no'], ["1", "b"]]


def test_optional_columns_may_be_absent(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "id,text\n1,a\n")
    assert list(read_columns(path, ["text", "group"], optional=["group"])) == ["text", "line"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text,label\n1,a,x\n2,b\n", r"a\.csv:3: must have 3 fields as line 1 has, got 2 \(1 such"),
        ('id,text,label\n1,"a\nb",x\n2,b,x,y\n', r"a\.csv:4: must have 3 fields as line 1 has, got 4"),
        ("id,text\n1,a,x\n2,b,x\n", r"a\.csv:2: must have 2 fields as line 1 has, got 3 \(2 such"),
        ('id,text,label\n1,"open,x\n2,b,x\n', r"a\.csv:2: a quote opens a field here and is not closed"),
        ('id,text,label\n1,"open,x\n2,mid,x\n3,end",x\n', r"a\.csv:2: a quote opened here swallows 2 rows"),
        ("text,text,label\n1,a,x\n", r"a\.csv:1: column names must differ, got \['text'\]"),
        ("id, text,label\n1,a,x\n", r"a\.csv:1: has no column 'text'.*did you mean ' text'"),
        ("id,texts,label\n1,a,x\n", r"a\.csv:1: has no column 'text'.*did you mean 'texts'"),
        ("", r"a\.csv: must hold at least one row, got none"),
        ("id,text,label\n", r"a\.csv: must hold at least one row, got none"),
    ],
)
def test_broken_csv_is_refused_with_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_columns(_write(tmp_path / "a.csv", content), ["id", "text", "label"])


def test_a_tab_separated_quote_that_swallows_rows_is_refused(tmp_path: Path) -> None:
    content = 'one\t"hello\t0\ntwo\tworld\t1\n33 x\tfoo"\t0\n'
    path = _write(tmp_path / "a.tsv", content)
    with pytest.raises(DataError, match=r"a\.tsv:1: a quote opened here swallows 2 rows.*quoting: false"):
        read_columns(path, [1], header=False)
    assert len(read_columns(path, [1], header=False, quoting=False)) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": 1}\n{"id": 2, "id": 3}\n', "has a key twice"),
        ('{"id": 1}\n{"Id": 2}\n', r"a\.jsonl:2: has no key 'id'.*did you mean 'Id'"),
        ('{"id": 1}\n{"id": [2]}\n', r"a\.jsonl:2: 'id' must be text, a number or null, got list"),
        ('{"id": 1}\n{"id": 2\n', r"a\.jsonl:2: is not valid JSON"),
        ("1\n", r"a\.jsonl:1: must be an object, got str"),
    ],
)
def test_broken_json_lines_are_refused_with_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_columns(_write(tmp_path / "a.jsonl", content), ["id"])


CHINESE = "id,text\n" + "".join(f"{i},今天天气很好，我们一起去公园散步吧，晚上再回家吃饭\n" for i in range(30))


def test_another_encoding_is_named_and_then_read(tmp_path: Path) -> None:
    text = CHINESE + "30,𠮷野家\n"  # U+20BB7 is in gb18030 and not in gbk
    path = _write(tmp_path / "a.csv", text.encode("gb18030"))
    with pytest.raises(DataError, match=r"not UTF-8 at byte 10; looks like GB18030: set tasks\.t\.encoding: gb18030"):
        read_columns(path, ["id", "text"], key="tasks.t")
    assert read_columns(path, ["text"], encoding="gb18030")["text"].iloc[-1] == "𠮷野家"
    with pytest.raises(DataError, match=r"tasks\.t\.encoding: 'klingon' is not known"):
        read_columns(path, ["text"], encoding="klingon", key="tasks.t")


def test_utf_16_is_named_by_its_byte_order_mark(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", CHINESE.encode("utf-16"))
    with pytest.raises(DataError, match=r"looks like UTF-16: set tasks\.t\.encoding: utf-16"):
        read_columns(path, ["text"], key="tasks.t")
    assert len(read_columns(path, ["id", "text"], encoding="utf-16")) == 30


def test_an_archive_must_hold_one_regular_file_inside_it(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a.csv")
    link.external_attr = 0o120777 << 16
    for members, message in [
        ([("a.csv", "x"), ("b.csv", "y")], r"must hold exactly one file, got 2 \['a.csv', 'b.csv'\]"),
        ([], "must hold exactly one file, got 0"),
        ([("../a.csv", "x")], r"'\.\./a\.csv' is not a regular file inside it"),
        ([("/etc/a.csv", "x")], "is not a regular file inside it"),
        ([(link, "/etc/passwd")], "'a.csv' is not a regular file inside it"),
    ]:
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members:
                archive.writestr(name, content)
        with pytest.raises(DataError, match=message):
            read_columns(path, ["id"])


@pytest.mark.parametrize("suffix", [".gz", ".zip"])
def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(reading, "RATIO_COUNTS_FROM", 1 << 16)
    path = tmp_path / f"a.csv{suffix}"
    if suffix == ".gz":
        path.write_bytes(gzip.compress(bytes(1 << 22)))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", bytes(1 << 22))
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        read_columns(path, ["id"])


@pytest.mark.parametrize("name", ["a.csv.gz", "a.zip", "a.parquet", "a.xlsx"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: "):
        read_columns(_write(tmp_path / name, "id,text\n1,a\n"), ["id"])
