"""A template renders fields with what belongs to them, and its marks part them again, whatever stands in raw texts."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.normalising import clean, normalise
from pipeline.text.templates import (
    FIELD,
    SEPARATOR,
    fields_of,
    is_template,
    n_fields,
    parse,
    pieces_of,
    plain,
    readable,
    render,
    with_fields,
)

VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[FIELD, SEPARATOR]), max_size=6)
TEMPLATES = ["{a} [SEP] {b}", "{a}{b}", "A: {a}, b: {b}!", "{b} - {a} [SEP] end", "[SEP] {a} ({b})", "{{{a}}} {b}"]


def read(template: str, **values: str) -> str:
    return readable(render(template, {name: [value] for name, value in values.items()})[0])


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("{title} [SEP] {body}", {"title": "T", "body": "B"}, "T [SEP] B"),
        ("{title} [SEP] {body}", {"title": "", "body": "B"}, "B"),
        ("{title} [SEP] {body}", {"title": "T", "body": " "}, "T"),
        ("{a} [SEP] {b} [SEP] {c}", {"a": "1", "b": "", "c": "3"}, "1 [SEP] 3"),
        ("{a} [SEP] {b} - {c}", {"a": "1", "b": "", "c": "3"}, "1 [SEP] 3"),
        ("{a}, {b}: {c}", {"a": "", "b": "2", "c": "3"}, "2: 3"),
        ("{a}, {b}: {c}", {"a": "1", "b": "", "c": "3"}, "1: 3"),
        ("Title: {a} body: {b}", {"a": "", "b": "B"}, "body: B"),
        ("Title: {a}, body: {b}", {"a": "A", "b": ""}, "Title: A"),
        ('"{a}" [SEP] "{b}"', {"a": "", "b": "B"}, '"B"'),
        ('"{a}" [SEP] "{b}"', {"a": "A", "b": ""}, '"A"'),
        ("题：{a}[SEP]文：{b}", {"a": "甲", "b": "乙"}, "题：甲 [SEP] 文：乙"),
        ("{{{a}}} }} {b}", {"a": "A", "b": "B"}, "{A} } B"),
        ("say {a}", {"a": ""}, ""),
    ],
)
def test_a_missing_field_goes_with_its_separator_and_its_label(
    template: str, values: dict[str, str], text: str
) -> None:
    assert read(template, **values) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{title [SEP] {body}", "every brace must be closed"),
        ("title} [SEP]", "every brace must be closed"),
        ("a [SEP] b", "must name columns in braces, got only constants"),
        ("{{a}}", "got only constants"),
        ("{a} [SEP] {}", "got {} without a name"),
    ],
)
def test_what_is_no_template_is_refused(template: str, message: str) -> None:
    assert is_template(template)
    with pytest.raises(ValueError, match=message):
        parse(template)


@pytest.mark.parametrize("column", ["text", "a b", "[x]", 0, ["{a}", "b"], None])
def test_a_plain_column_is_no_template(column: object) -> None:
    assert not is_template(column)


@settings(max_examples=60)
@given(template=st.sampled_from(TEMPLATES), a=VALUES, b=VALUES)
def test_the_fields_are_found_again_and_the_pieces_are_the_text(template: str, a: str, b: str) -> None:
    [text] = render(template, {"a": [a], "b": [b]})
    order = [{"a": a, "b": b}[field.column] for field in parse(template)]
    expected = [value if value.strip() else "" for value in order]
    assert fields_of(text) == expected and n_fields(text) == 2
    assert with_fields(text, expected) == text
    for start, piece, field in pieces_of(text):
        assert plain(text)[start : start + len(piece)] == plain(piece)
        assert field < 0 or piece.removeprefix(" ") == expected[field] or piece == expected[field]
    assert "".join("".join(piece.split()) for _, piece, _ in pieces_of(text)) == "".join(text.split())
    assert not any(expected) or normalise(text)
    assert any(expected) or not text.strip()


@settings(max_examples=50)
@given(text=st.text(st.sampled_from("ab \x0b\x0c\x1c\x1e\x1f\x85"), max_size=12))
def test_no_mark_in_a_raw_text_is_read_as_one(text: str) -> None:
    [cleaned] = clean(pa.array([text], pa.large_string())).to_pylist()
    assert FIELD not in cleaned and SEPARATOR not in cleaned
    assert [field for *_, field in pieces_of(cleaned)] == [0]


def test_marks_are_white_space_for_all_that_read_a_text_as_one() -> None:
    [text] = render("{a} [SEP] {b}", {"a": ["One"], "b": ["Two"]})
    assert text.split() == ["One", "Two"] and normalise(text) == "one two"
    assert not pa.compute.match_substring_regex(pa.array([FIELD * 4]), r"[^\s\p{Z}\p{Cf}]")[0].as_py()


def test_new_fields_bring_no_marks() -> None:
    [text] = render("{a} [SEP] {b}", {"a": ["x"], "b": ["y"]})
    assert fields_of(with_fields(text, [f"u{FIELD}v", f"w{SEPARATOR}"])) == ["u v", "w "]
