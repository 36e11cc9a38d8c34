"""Texts made of several columns by a template such as `"{title} [SEP] {body}"`, and the marks that say what stands where.

A rendered text is one text with marks in it: `FIELD` before and after each field, of a missing one too, so that between
marks stand in turn what the template says and a field; `SEPARATOR` where the template says [SEP]. Both are white space for
whoever reads a text as one (in Python, Rust, RE2), and `normalising.clean` leaves neither of them in a raw text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

FIELD, SEPARATOR = "\x0c", "\x0b"
BLANKS = {ord(FIELD): " ", ord(SEPARATOR): " "}
SAID = "[SEP]"
PARTS = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|[{}])")


@dataclass(frozen=True)
class Field:
    """A column's place in a template: what parts it from the field before, its label, and what follows it."""

    column: str
    joint: str
    label: str
    end: str


def is_template(column: object) -> bool:
    """Return whether what params name as a column is a template: a brace or [SEP] stands in it."""
    return isinstance(column, str) and any(sign in column for sign in ("{", "}", SAID))


def parse(template: str) -> list[Field]:
    """Return the fields of a template. `{{` and `}}` are braces themselves.

    What stands between two fields goes with one of them, so that a missing field takes it along: of signs alone, or up to
    [SEP] and again from it, all; from the first letter on it is the next one's label.

    >>> parse("Title: {title} [SEP] {body}")[1]
    Field(column='body', joint='\\x0b', label='', end='')

    Raises:
        ValueError: if a brace is not closed, or no column is named.
    """
    constants, columns = [""], []
    for part in PARTS.split(template.translate(BLANKS)):
        if part in ("{", "}"):
            raise ValueError(f"every brace must be closed, got {template!r}. Close it; a brace itself is doubled.")
        if part in ("{{", "}}"):
            constants[-1] += part[0]
        elif part.startswith("{"):
            columns.append(part[1:-1])
            constants.append("")
        else:
            constants[-1] += part
    if not all(columns) or not columns:
        got = "{} without a name" if columns else "only constants"
        raise ValueError(f"a template must name columns in braces, got {got}: {template!r}. Name them.")
    first, *between, last = (re.sub(rf"\s*{re.escape(SAID)}\s*", SEPARATOR, constant) for constant in constants)
    parts = [("", "", first), *map(_parted, between), (last, "", "")]
    return [Field(column, *parts[n][1:], end=parts[n + 1][0]) for n, column in enumerate(columns)]


def _parted(constant: str) -> tuple[str, str, str]:
    """Return of what stands between two fields the end of the first, what parts them, and the label of the second."""
    if SEPARATOR in constant:
        end, *middle, label = constant.split(SEPARATOR)
        return end, SEPARATOR.join(["", *middle, ""]), label
    word = re.search(r"\w", constant)
    place = word.start() if word else len(constant)
    return "", constant[:place], constant[place:]


def render(template: str, columns: Mapping[str, Sequence[str]]) -> list[str]:
    r"""Return the texts of N rows, with marks; `columns` holds the N cleaned values of each column that is named.

    A value of white space alone is missing.

    >>> render("{a} [SEP] by {b}", {"a": ["x", "", "x"], "b": ["y", "y", " "]})
    ['\x0cx\x0c\x0bby \x0cy\x0c', '\x0c\x0cby \x0cy\x0c', '\x0cx\x0c\x0c\x0c']
    """
    fields = parse(template)
    return [_row(fields, values) for values in zip(*(columns[field.column] for field in fields), strict=True)]


def _row(fields: Sequence[Field], values: Sequence[str]) -> str:
    pieces, joints, is_first = [""], list[str](), True
    for field, value in zip(fields, values, strict=True):
        joints.append(field.joint)
        if not value.strip():
            pieces += ["", ""]
            continue
        if not is_first:  # of what would have parted the missing ones, [SEP] parts most
            pieces[-1] += next((joint for joint in joints if SEPARATOR in joint), field.joint)
        pieces[-1] += field.label
        pieces += [value, field.end]
        joints, is_first = [], False
    return FIELD.join(pieces)


def pieces_of(text: str) -> Iterator[tuple[int, str, int]]:
    r"""Yield the pieces of a text: where each begins, its characters, the number of its field or -1 between fields.

    A text without marks is one field. A blank before a field is the field's, as tokenizers of bytes want it, and stands in
    the mark's place.

    >>> list(pieces_of("\x0cx\x0c\x0bby \x0cy\x0c")), list(pieces_of("x"))
    ([(1, 'x', 0), (3, '\x0b', -1), (4, 'by', -1), (7, ' y', 1)], [(0, 'x', 0)])
    """
    parts = text.split(FIELD)
    if len(parts) == 1:
        yield 0, text, 0
        return
    start = 0
    for number, part in enumerate(parts):
        if number % 2:
            blank = " " if parts[number - 1].endswith(" ") else ""
            if part:
                yield start - len(blank), blank + part, number // 2
        else:
            trimmed = part.removesuffix(" ") if parts[number + 1 : number + 2] != [""] else part
            for match in re.finditer(rf"{SEPARATOR}|[^{SEPARATOR}]+", trimmed):
                yield start + match.start(), match.group(), -1
        start += len(part) + 1


def n_fields(text: str) -> int:
    """Return how many fields a text has; one without marks is one."""
    return text.count(FIELD) // 2 or 1


def fields_of(text: str) -> list[str]:
    """Return the fields of a text, missing ones empty; a text without marks is one."""
    return text.split(FIELD)[1::2] or [text]


def with_fields(text: str, fields: Sequence[str]) -> str:
    """Return a text with other fields in the places of its own; what would be a mark in them is a blank.

    >>> readable(with_fields(render("{a} [SEP] {b}", {"a": ["x"], "b": ["y"]})[0], ["u", "v"]))
    'u [SEP] v'
    """
    parts = text.split(FIELD)
    changed = [field.translate(BLANKS) for field in fields]
    if len(parts) == 1:
        return changed[0]
    parts[1::2] = changed
    return FIELD.join(parts)


def plain(text: str) -> str:
    """Return a text with blanks in the places of its marks: what learns words of it must not learn marks."""
    return text.translate(BLANKS)


def readable(text: str) -> str:
    """Return a text as people read it."""
    return text.replace(SEPARATOR, f" {SAID} ").replace(FIELD, "")
