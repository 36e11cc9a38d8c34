"""Reading keeps every byte and refuses what would silently lose or shift rows."""

import csv
import gzip
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import archives
from pipeline.data.delimited import Dialect, parse_delimited
from pipeline.data.reading import LINE, read_columns
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.tasks import FileForm

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
def test_D1_D3_every_format_and_packing_keeps_values_as_text(tmp_path: Path, format: str, packing: str) -> None:
    """Ids such as `001` and `1e5` and labels such as `NA` and `null` stay the text they are; only empty is missing."""
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


def test_D3_numbers_of_json_keep_their_text_and_null_is_missing(tmp_path: Path) -> None:
    """Numbers of JSON beyond 2^53 and in other notations stay the text they are."""
    path = _write(
        tmp_path / "a.jsonl", '{"id": 9007199254740993, "x": 1e5, "y": null}\n\n{"id": 2, "x": -Infinity, "y": true}\n'
    )
    frame = read_columns(path, ["id", "x", "y"])
    assert frame["id"].tolist() == ["9007199254740993", "2"]
    assert frame["x"].tolist() == ["1e5", "-Infinity"]
    assert frame["y"].tolist() == ["", "true"]
    assert frame[LINE].tolist() == [1, 3]


def test_D13_a_lone_surrogate_of_json_becomes_the_replacement_character(tmp_path: Path) -> None:
    """A lone surrogate becomes U+FFFD; a pair of them becomes its character."""
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
def test_H1_what_the_csv_module_quotes_comes_back_unchanged(
    rows: list[list[str]], separator: str, line_end: str
) -> None:
    """Any texts that the csv module wrote with quotes come back byte for byte, or the file is refused."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator=line_end).writerows(rows)
    content = buffer.getvalue().encode()
    try:
        parsed = parse_delimited(content, Dialect(separator))
    except DataError as error:
        assert "swallows" in str(error) and any("\n" in field and separator in field for row in rows for field in row)
        return
    assert [parsed.record(i) for i in range(len(rows))] == rows


@pytest.mark.parametrize("break_", ["\r", "\u2028", "\u0085", "\x00", "\x1a", "\x0b", "\x0c"])
@pytest.mark.parametrize("quoting", [True, False])
def test_D9_only_newlines_split_rows(tmp_path: Path, break_: str, quoting: bool) -> None:
    """A bare CR, U+2028, U+0085, NUL or 0x1a in a text neither splits its row nor ends it."""
    path = _write(tmp_path / "a.csv", f"id,text\n1,a{break_}b\n2,c\n")
    assert read_columns(path, ["text"], FileForm(quoting=quoting))["text"].tolist() == [f"a{break_}b", "c"]


def test_D9_D10_newlines_in_quoted_fields_stay_and_lines_are_physical(tmp_path: Path) -> None:
    """Line ends in quotes stay, a byte order mark does not, and messages count the lines that an editor shows."""
    path = _write(tmp_path / "a.csv", '\ufeffid,text\r\n1,"a\r\nb ""x"", c"\r\n\r\n2,plain "quoted" end\r\n')
    frame = read_columns(path, ["id", "text"])
    assert frame["text"].tolist() == ['a\r\nb "x", c', 'plain "quoted" end']
    assert frame[LINE].tolist() == [2, 5]


def test_D12_a_field_of_megabytes_is_read(tmp_path: Path) -> None:
    """A text of 5 MB is read whole, in time linear in its length."""
    text = 'word "" ' * 700_000
    path = _write(tmp_path / "a.csv", f'id,text\n1,"{text}"\n2,b\n')
    assert read_columns(path, ["text"])["text"].str.len().tolist() == [len(text) - 700_000, 1]


def test_headerless_columns_are_addressed_by_position(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", '0\the said "no\tx\n1\tb\ty\n')
    frame = read_columns(path, [0, 1], FileForm(format="tsv", header=False, quoting=False))
    assert frame[[0, 1]].to_numpy().tolist() == [["0", 'he said "no'], ["1", "b"]]


def test_optional_columns_may_be_absent(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "id,text\n1,a\n")
    assert list(read_columns(path, ["text", "group"], optional=["group"])) == ["text", LINE]


@pytest.mark.parametrize(
    ("content", "message", "code"),
    [
        (
            "id,text,label\n1,a,x\n2,b\n",
            r"a\.csv:3: must have 3 fields as line 1 has, got 2 \(1 such.*torn_lines: join",
            "E307",
        ),
        ('id,text,label\n1,"a\nb",x\n2,b,x,y\n', r"a\.csv:4: must have 3 fields as line 1 has, got 4", "E307"),
        ("id,text\n1,a,x\n2,b,x\n", r"a\.csv:2: must have 2 fields as line 1 has, got 3 \(2 such", "E307"),
        ('id,text,label\n1,"open,x\n2,b,x\n', r"a\.csv:2: a quote opens a field here and is not closed", "E307"),
        ('id,text,label\n1,"open,x\n2,mid,x\n3,end",x\n', r"a\.csv:2: a quote opened here swallows 2 rows", "E307"),
        ("text,text,label\n1,a,x\n", r"a\.csv:1: column names must differ, got \['text'\]", "E303"),
        ("id, text,label\n1,a,x\n", r"a\.csv:1: has no column 'text'.*did you mean ' text'", "E303"),
        ("id,Text,label\n1,a,x\n", r"a\.csv:1: has no column 'text'.*did you mean 'Text'", "E303"),
        ("id,texts,label\n1,a,x\n", r"a\.csv:1: has no column 'text'.*did you mean 'texts'", "E303"),
        ("", r"a\.csv: must hold at least one row, got none", "E300"),
        ("id,text,label\n", r"a\.csv: must hold at least one row, got none", "E300"),
    ],
)
def test_D6_D7_D8_broken_csv_is_refused_with_file_and_line(
    tmp_path: Path, content: str, message: str, code: str
) -> None:
    """Ragged rows, open quotes and missing, doubled or misspelt columns are refused with file, line and the likely name."""
    with pytest.raises(DataError, match=message) as caught:
        read_columns(_write(tmp_path / "a.csv", content), ["id", "text", "label"])
    assert caught.value.code == code


def test_torn_lines_are_joined_and_counted_and_what_fits_nowhere_is_named(tmp_path: Path, caplog) -> None:
    """`torn_lines: join` puts a line with too few fields back to the one it was torn from; four fields stay an error."""
    form = FileForm(format="tsv", header=False, quoting=False, torn_lines="join")
    content = "0\ttorn\nin\n\nthree\tanger\n1\twhole\tjoy\n2\thalf\n of it\tfear\n" + "3\twhole\tjoy\n" * 5
    frame = read_columns(_write(tmp_path / "a.tsv", content), [0, 1, 2], form)
    assert frame[[0, 2]].to_numpy().tolist() == [["0", "anger"], ["1", "joy"], ["2", "fear"], *[["3", "joy"]] * 5]
    assert [text.split() for text in frame[1]][:3] == [["torn", "in", "three"], ["whole"], ["half", "of", "it"]]
    assert frame[LINE].tolist()[:4] == [1, 5, 6, 8]
    assert "a.tsv: 2 torn lines were joined with what follows, such as line 1" in caplog.text
    for wrong, line in (("0\ta\tb\n1\ta\tb\tc\n2\ta\tb\n", 2), ("0\ta\tb\n1\ta\n2\ta\tb\n", 2)):
        with pytest.raises(DataError, match=rf"a\.tsv:{line}: must have 3 fields"):
            read_columns(_write(tmp_path / "a.tsv", wrong), [0], form)


def test_D8_a_tab_separated_quote_that_swallows_rows_is_refused(tmp_path: Path) -> None:
    """A quote that would swallow whole rows is refused with its line, and `quoting: false` reads them all."""
    content = 'one\t"hello\t0\ntwo\tworld\t1\n33 x\tfoo"\t0\n'
    path = _write(tmp_path / "a.tsv", content)
    with pytest.raises(DataError, match=r"a\.tsv:1: a quote opened here swallows 2 rows.*quoting: false"):
        read_columns(path, [1], FileForm(header=False))
    assert len(read_columns(path, [1], FileForm(header=False, quoting=False))) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"id": 1}\n{"id": 2, "id": 3}\n',
            r"a\.jsonl:2: 'id' must be text.*got several values: the key stands more than once",
        ),
        ('{"id": 1}\n{"Id": 2}\n', r"a\.jsonl:2: has no key 'id'.*did you mean 'Id'"),
        ('{"id": 1}\n{"id": [2]}\n', r"a\.jsonl:2: 'id' must be text, a number or null, got an array"),
        ('{"id": 1}\n{"id": 2\n', r"a\.jsonl:2: is not valid JSON"),
        ("1\n", r"a\.jsonl:1: must be an object, got a text or number"),
        ('{"id": ' + "[" * 100_000, r"a\.jsonl:1: is not valid JSON"),
    ],
)
def test_D6_D7_broken_json_lines_are_refused_with_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    """Objects with a key twice, another key or another value than text are refused with file and line."""
    with pytest.raises(DataError, match=message):
        read_columns(_write(tmp_path / "a.jsonl", content), ["id"])


CHINESE = "id,text\n" + "".join(f"{i},今天天气很好，我们一起去公园散步吧，晚上再回家吃饭\n" for i in range(30))


def test_D10_another_encoding_is_named_and_then_read(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused with the byte, the likely encoding and the key to set; GB18030, never GBK."""
    text = CHINESE + "30,𠮷野家\n"  # U+20BB7 is in gb18030 and not in gbk
    path = _write(tmp_path / "a.csv", text.encode("gb18030"))
    message = (
        r"a\.csv:2: must be UTF-8, got other bytes at byte 10\. It looks like GB18030: set tasks\.t\.encoding: gb18030"
    )
    with pytest.raises(DataError, match=message) as caught:
        read_columns(path, ["id", "text"], key="tasks.t")
    assert caught.value.code == "E304"
    assert read_columns(path, ["text"], FileForm(encoding="gb18030"))["text"].iloc[-1] == "𠮷野家"
    for unknown in ("klingon", "base64", "undefined"):
        with pytest.raises(ParamsError, match=rf"tasks\.t\.encoding: '{unknown}' is not known"):
            read_columns(path, ["text"], FileForm(encoding=unknown), key="tasks.t")


@pytest.mark.parametrize(
    ("written", "named"),
    [("utf-16", "utf-16"), ("utf-32", "utf-32"), ("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be")],
)
def test_D10_wide_encodings_are_named(tmp_path: Path, written: str, named: str) -> None:
    """UTF-16 and UTF-32 are told by their byte order mark, or by the zero byte beside the first letter."""
    path = _write(tmp_path / "a.csv", CHINESE.encode(written))
    with pytest.raises(DataError, match=rf"looks like {named.upper()}: set tasks\.t\.encoding: {named}\b") as caught:
        read_columns(path, ["text"], key="tasks.t")
    assert caught.value.code == "E304"
    assert len(read_columns(path, ["id", "text"], FileForm(encoding=named))) == 30


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_D10_western_encodings_are_refused_and_read_once_named(tmp_path: Path, encoding: str) -> None:
    """A file in a Western encoding is refused with the line that is not UTF-8, and read once the encoding is named."""
    text = "id,text\n" + "".join(f"{i},Das Café öffnet früh und schließt spät\n" for i in range(20))
    path = _write(tmp_path / "a.csv", text.encode(encoding))
    with pytest.raises(DataError, match=r"a\.csv:2: must be UTF-8, got other bytes at byte 17.*tasks\.t\.encoding"):
        read_columns(path, ["text"], key="tasks.t")
    assert (
        read_columns(path, ["text"], FileForm(encoding=encoding))["text"].iloc[0]
        == "Das Café öffnet früh und schließt spät"
    )


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp437"])
def test_D10_utf_8_read_as_something_else_is_refused(tmp_path: Path, encoding: str) -> None:
    """UTF-8 that params.yaml calls another encoding would become other words (mojibake): refused."""
    path = _write(tmp_path / "a.csv", "id,text\n" + "".join(f"{i},Élève à l'école\n" for i in range(9)))
    with pytest.raises(
        DataError, match=r"is UTF-8 throughout, but would be read as .*Remove tasks\.t\.encoding"
    ) as caught:
        read_columns(path, ["text"], FileForm(encoding=encoding), key="tasks.t")
    assert caught.value.code == "E304"
    assert len(read_columns(path, ["text"], FileForm(encoding="utf-8-sig"))) == 9


BROKEN = "😀".encode()[:2]  # an emoji cut in the middle


@pytest.mark.parametrize("text", ["café ’ 😀 and plain words", "今天天气很好，我们去公园😀"])
def test_D10_utf_8_with_a_cut_emoji_is_called_utf_8_and_no_other_encoding_is_advised(tmp_path: Path, text: str) -> None:
    """UTF-8 with some bad sequences is called that, with their number and lines, and `encoding_errors` is offered."""
    rows = [f"{i},{text}\n".encode() for i in range(25)]
    rows[4] = rows[4].replace("😀".encode(), BROKEN)
    path = _write(tmp_path / "a.csv", b"id,text\n" + b"".join(rows))
    message = r"a\.csv:6: is UTF-8 but for 1 bad sequence of bytes on line 6\. .*set tasks\.t\.encoding_errors: replace"
    with pytest.raises(DataError, match=message) as caught:
        read_columns(path, ["text"], key="tasks.t")
    assert caught.value.code == "E304" and "looks like" not in str(caught.value)
    for other in ("cp1125", "cp1252", "latin-1", "gb18030", "utf-16"):
        with pytest.raises(DataError, match=r"is UTF-8 but for 1 bad sequence .* Remove tasks\.t\.encoding"):
            read_columns(path, ["text"], FileForm(encoding=other), key="tasks.t")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_D10_bytes_that_are_no_text_are_replaced_or_their_rows_left_out(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With `encoding_errors` bad bytes become U+FFFD, or their rows go, whatever column holds them; a warning says which."""
    rows = [{"id": str(i), "text": "café \ufffd", "note": "XX" if i == 2 else "-"} for i in range(4)]
    if name == "a.csv":
        content = "id,text,note\n" + "".join(",".join(row.values()) + "\n" for row in rows)
    else:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        content = "\n".join(lines) if name == "a.jsonl" else f"[{','.join(lines)}]"
    path = _write(tmp_path / name, content.encode().replace(b"XX", BROKEN))
    replaced = read_columns(path, ["id", "note"], FileForm(encoding_errors="replace"))
    assert replaced["note"].tolist() == ["-", "-", "\ufffd", "-"]
    dropped = read_columns(path, ["id", "text"], FileForm(encoding_errors="drop_row"))
    assert dropped["id"].tolist() == ["0", "1", "3"] and dropped["text"].tolist() == ["café \ufffd"] * 3
    assert "1 bad sequence of bytes on line" in caplog.text


def test_D10_another_encoding_with_bad_bytes_is_called_that(tmp_path: Path) -> None:
    """GB18030 with a bad byte is called that, and read with `encoding_errors`."""
    path = _write(tmp_path / "a.csv", CHINESE.encode("gb18030") + b"30,\xff\n")
    with pytest.raises(DataError, match="is GB18030 but for 1 bad sequence of bytes on line 32"):
        read_columns(path, ["text"], FileForm(encoding="gb18030"))
    form = FileForm(encoding="gb18030", encoding_errors="replace")
    assert read_columns(path, ["text"], form)["text"].iloc[-1] == "\ufffd"


def test_D10_an_encoding_is_advised_with_what_the_words_would_read(tmp_path: Path) -> None:
    """Encodings that a guesser cannot tell apart are shown with the words they give, the usual one first."""
    path = _write(tmp_path / "a.csv", ("id,text\n" + "".join(f"{i},café\n" for i in range(20))).encode("cp1252"))
    with pytest.raises(DataError, match=r"encoding: cp1252 if line 2 reads '0,café', mac_latin2 if it reads '0,cafť'"):
        read_columns(path, ["text"])


def test_D10_two_joined_files_in_two_encodings_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rows in UTF-8 among those of another encoding would become other words: a warning counts them."""
    western = "".join(f"{i},Das Café öffnet früh\n" for i in range(60)).encode("cp1252")
    utf8 = "".join(f"{i},Das Café öffnet früh\n" for i in range(40)).encode()
    for content, encoding in ((CHINESE.encode("gb18030"), "gb18030"), (western, "cp1252")):
        read_columns(_write(tmp_path / "a.csv", content), [1], FileForm(header=False, encoding=encoding))
    assert not caplog.text
    read_columns(_write(tmp_path / "a.csv", western + utf8), [1], FileForm(header=False, encoding="cp1252"))
    assert "40 of the 100 lines beyond ASCII are UTF-8, first line 61, and are read as CP1252" in caplog.text


def test_json_is_an_array_or_one_object_per_line(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.json", '{"id": 1}\n{"id": 2}\n')
    assert read_columns(path, ["id"])["id"].tolist() == ["1", "2"]


def test_D9_lines_that_end_in_cr_cr_lf_end_there(tmp_path: Path) -> None:
    """A file whose every line ends in CR CR LF has labels without a CR, quoted or not."""
    path = _write(tmp_path / "a.csv", 'id,label\r\r\n1,pos\r\r\n\r\r\n2,"neg"\r\r\n3,pos\r\r')
    assert read_columns(path, ["label"])["label"].tolist() == ["pos", "neg", "pos"]


def test_D6_columns_that_nobody_asked_for_block_no_file(tmp_path: Path) -> None:
    """Names, types and keys of columns that are not read may be blank, repeated or nested."""
    path = _write(tmp_path / "spam.csv", "v1,v2,,,\nham,hello,,,\nspam,win,,,\n")
    assert read_columns(path, ["v1", "v2"])["v2"].tolist() == ["hello", "win"]
    path = _write(tmp_path / "a.jsonl", '{"v2": "a", "x": 1, "x": [2], "y": {"z": 1, "z": 2}}\n')
    assert read_columns(path, ["v2"])["v2"].tolist() == ["a"]
    texts, lists = pa.array(["a"]), pa.array([[1]])
    pq.write_table(pa.table([texts, lists, texts], names=["v2", "x", "x"]), tmp_path / "a.parquet")
    assert read_columns(tmp_path / "a.parquet", ["v2"])["v2"].tolist() == ["a"]
    with pytest.raises(DataError, match=r"column names must differ, got \['x'\] more than once"):
        read_columns(tmp_path / "a.parquet", ["x"])


def test_a_column_called_line_is_not_taken_for_line_numbers(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "line,text\nto be,x\n")
    assert read_columns(path, ["line"])["line"].tolist() == ["to be"]


@pytest.mark.parametrize(("separator", "shown"), [(";", "';'"), ("\t", r'"\\t"'), ("|", r"'\|'")])
@pytest.mark.parametrize("header", [True, False])
def test_D7_another_separator_is_named_and_then_read(tmp_path: Path, separator: str, shown: str, header: bool) -> None:
    """A file whose columns show only under another separator is refused with the `separator` to set, and then read."""
    rows = [["id", "text"]] * header + [["1", "a, b"], ["2", "c"]]
    path = _write(tmp_path / "a.csv", "".join(separator.join(row) + "\n" for row in rows))
    wanted: list[str | int] = ["id", "text"] if header else [0, 1]
    with pytest.raises(
        DataError, match=rf"a\.csv:1: fields must be separated by ','.*Set tasks\.t\.separator: {shown}"
    ):
        read_columns(path, wanted, FileForm(header=header), key="tasks.t")
    frame = read_columns(path, wanted, FileForm(header=header, separator=separator))
    assert frame[wanted[1]].tolist() == ["a, b", "c"]


def test_D8_quotes_behind_backslashes_are_named_and_then_read(tmp_path: Path) -> None:
    r"""A file that writes `\"` in quotes is refused with the `escape` to set; only what it escapes loses the backslash."""
    path = _write(tmp_path / "a.csv", 'id,text\n1,"he said \\"hi\\", C:\\new \\\\ ""x"""\n2,a\\, b\\\nc\n3,d\n')
    with pytest.raises(DataError, match=r"a\.csv:2: a quote opens .* set tasks\.t\.escape: '\\' as backslashes"):
        read_columns(path, ["text"], key="tasks.t")
    frame = read_columns(path, ["text"], FileForm(escape="\\"))
    assert frame["text"].tolist() == ['he said "hi", C:\\new \\ "x"', "a, b\nc", "d"]
    assert frame[LINE].tolist() == [2, 3, 5]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.text("a\"\\,\n\t'é"), min_size=2, max_size=2), min_size=1, max_size=4),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONE]),
)
def test_H1_what_the_csv_module_escapes_comes_back_unchanged(rows: list[list[str]], quoting: int) -> None:
    """Any texts that the csv module wrote with backslashes come back as they were, or the file is refused."""
    buffer = io.StringIO(newline="")
    options: dict[str, Any] = {"escapechar": "\\", "doublequote": False, "lineterminator": "\n", "quoting": quoting}
    csv.writer(buffer, **options).writerows([["x", "x"], *rows])
    dialect = Dialect(escape="\\", quoting=quoting == csv.QUOTE_ALL)
    try:
        parsed = parse_delimited(buffer.getvalue().encode(), dialect)
    except DataError as error:
        assert "swallows" in str(error)
        return
    assert [parsed.record(i) for i in range(1, len(parsed.lines))] == rows


def test_D8_a_quote_that_swallows_rows_is_refused_though_one_of_them_is_ragged(tmp_path: Path) -> None:
    """A quote that swallows many rows is refused also where one of them is broken."""
    rows = [f"{i}\ttext {i}" for i in range(20)]
    rows[3], rows[9], rows[15] = '3\t"hello', "9\ttoo\tmany", '15\tfoo"'
    path = _write(tmp_path / "a.tsv", "\n".join(rows))
    with pytest.raises(DataError, match=r"a\.tsv:4: a quote opened here swallows 12 rows, 12 of 13 lines whole"):
        read_columns(path, [1], FileForm(header=False))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(['"', ",", "\n", "\r\n", "a", "é", '""']), max_size=24).map("".join), st.booleans())
def test_D7_D8_the_rows_read_are_as_many_as_an_independent_count(content: str, quoting: bool) -> None:
    """As many rows are read as the csv module counts, or as lines where quotes mean nothing; else the file is refused."""
    try:
        n_rows = len(parse_delimited(content.encode(), Dialect(quoting=quoting)).lines)
    except DataError:
        return
    lines = [line for line in content.replace("\r\n", "\n").split("\n") if line]
    counted = [row for row in csv.reader(io.StringIO(content, newline="")) if row] if quoting else lines
    assert n_rows == len(counted)


def test_D20_an_archive_must_hold_one_regular_file_inside_it(tmp_path: Path) -> None:
    """A zip with other than one file, a path out of it, an absolute path or a link is refused; nothing is extracted."""
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
def test_D20_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """A zip or gzip that unpacks to more than 200 times its size is refused before the memory is full."""
    monkeypatch.setattr(archives, "RATIO_COUNTS_FROM", 1 << 16)
    path = tmp_path / f"a.csv{suffix}"
    if suffix == ".gz":
        path.write_bytes(gzip.compress(bytes(1 << 22)))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", bytes(1 << 22))
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        read_columns(path, ["id"])


def test_D20_a_zip_that_lies_about_its_size_is_bounded_by_its_true_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zip whose directory claims a larger packed size, or whose method unpacks in one go, is refused all the same."""
    monkeypatch.setattr(archives, "RATIO_COUNTS_FROM", 1 << 16)
    path = tmp_path / "a.csv.zip"
    for method, message in ((zipfile.ZIP_DEFLATED, "200 times its size"), (zipfile.ZIP_BZIP2, "stored or deflated")):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.csv", bytes(1 << 22))
        content = bytearray(path.read_bytes())
        directory = content.index(b"PK\x01\x02")
        content[directory + 20 : directory + 24] = (0x7FFFFFFF).to_bytes(4, "little")
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            read_columns(path, ["id"])
        assert caught.value.code == "E308"


@pytest.mark.parametrize("dictionary", [True, False])
def test_D20_a_small_parquet_file_that_unpacks_to_very_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dictionary: bool
) -> None:
    """A parquet file that repeats a text, or packs it, beyond 200 times its size is refused before the memory is full."""
    monkeypatch.setattr(archives, "RATIO_COUNTS_FROM", 1 << 16)
    table = pa.table({"text": pa.repeat(pa.scalar("x" * 1000), 200_000)})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=dictionary)
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match="unpacks to more than 200 times its size") as caught:
        read_columns(tmp_path / "a.parquet", ["text"])
    assert caught.value.code == "E308" and pa.total_allocated_bytes() - before < 1 << 27


@pytest.mark.parametrize("name", ["a.csv.gz", "a.zip", "a.parquet", "a.xlsx"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: "):
        read_columns(_write(tmp_path / name, "id,text\n1,a\n"), ["id"])


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), min_size=1, max_size=6),
    name=st.sampled_from(["a.parquet", "a.jsonl", "a.json"]),
)
def test_H1_parquet_and_json_come_back_unchanged(
    rows: list[list[str]], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any texts written as parquet or JSON come back as they were, lone surrogates as U+FFFD."""
    path = tmp_path_factory.mktemp("round") / name
    records = [{"id": row[0], "text": row[1]} for row in rows]
    whole = [[text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in row] for row in rows]
    if name == "a.parquet":
        pd.DataFrame(whole, columns=["id", "text"], dtype="str").to_parquet(path)
    else:
        path.write_text(
            "".join(json.dumps(record) + "\n" for record in records) if name == "a.jsonl" else json.dumps(records)
        )
    assert read_columns(path, ["id", "text"])[["id", "text"]].to_numpy().tolist() == whole


def test_parquet_of_numbers_categories_and_nulls_becomes_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [2**53 + 1, 2], "text": ["a", None], "label": pd.Categorical(["x", "y"])})
    frame.to_parquet(tmp_path / "a.parquet")
    assert read_columns(tmp_path / "a.parquet", ["id", "text", "label"]).drop(columns=LINE).to_numpy().tolist() == [
        ["9007199254740993", "a", "x"],
        ["2", "", "y"],
    ]


@pytest.mark.parametrize("format", ["parquet", "jsonl", "json"])
def test_D1_D2_a_gap_that_is_not_a_number_is_missing_and_the_words_for_it_are_not(tmp_path: Path, format: str) -> None:
    """NaN among the numbers of parquet and JSON is as missing as null; the texts `NaN`, `nan` and `NA` stay what they are."""
    rows = [{"number": 1.5, "text": "NaN"}, {"number": math.nan, "text": "nan"}, {"number": None, "text": "NA"}]
    path = tmp_path / f"a.{format}"
    if format == "parquet":
        numbers = pa.array([row["number"] for row in rows])
        columns = {"number": numbers, "text": [row["text"] for row in rows], "half": numbers.cast(pa.float16())}
        pq.write_table(pa.table({**columns, "category": numbers.dictionary_encode()}), path)
        more = ["half", "category"]
    else:
        path.write_text(json.dumps(rows) if format == "json" else "".join(json.dumps(row) + "\n" for row in rows))
        more = []
    frame = read_columns(path, ["number", "text", *more])
    assert [frame[column].tolist() for column in ("number", *more)] == [["1.5", "", ""]] * (1 + len(more))
    assert frame["text"].tolist() == ["NaN", "nan", "NA"]


def test_parquet_of_bytes_that_are_no_utf_8_is_refused(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    pq.write_table(pa.table({"text": broken}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: is not parquet with columns of text"):
        read_columns(tmp_path / "a.parquet", ["text"])


def test_parquet_of_more_rows_than_its_bytes_can_say_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "RATIO_COUNTS_FROM", 1)
    monkeypatch.setattr(archives, "MAX_RATIO", 1)
    pd.DataFrame({"text": [""] * 100_000}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="unpacks to more than 1 times its size"):
        read_columns(tmp_path / "a.parquet", ["text"])
