"""Which column of a task's files is what: ids, texts, labels, groups; and which rows belong together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.data.auditing import count_tokens
from pipeline.errors.exceptions import DataError, expected
from pipeline.start.files import RawFile, is_number
from pipeline.start.roles import Ask, TaskFiles, answer_columns, counts_from, id_places
from pipeline.text.relations import related_rows

Column = str | int
LABEL = re.compile(
    r"(^|_)(labels?|targets?|class|category|sentiment|emotions?|score|rating|stars|y)($|_)", re.IGNORECASE
)
ID = re.compile(r"(^|_)(id|index)$", re.IGNORECASE)
GROUP = re.compile(
    r"(^|_)(id|group|user|author|topic|prompt|document|essay|thread|session|conversation)($|_)", re.IGNORECASE
)
HEADLINE = re.compile("title|headline|subject|keyword", re.IGNORECASE)
FILLED, VARIED = 0.9, 0.05  # shares of the rows with a value and of distinct values that a text has at least
LONGEST_ID = 64
FEWEST_TOKENS = 3
FEWEST_GROUPS = 20
ALIKE = 3.0  # times the length of its partner that a text of a pair has at most
TOO_LARGE = 0.3  # of the rows in one cluster: folds could not be even


@dataclass
class Columns:
    """Which column of the training file is what; `test` what is otherwise in the test file, `spare` what is not read."""

    id: Column | None = None
    text: list[Column] = field(default_factory=list)
    text_pair: Column | None = None
    label: list[Column] = field(default_factory=list)
    group: Column | None = None
    test: dict[str, Any] = field(default_factory=dict)
    spare: list[Column] = field(default_factory=list)
    wants_probabilities: bool = False


def find_columns(files: TaskFiles, *, labels: Sequence[str], ask: Ask) -> Columns:
    """Return which column is what; `labels` are the label columns that the user names.

    Raises:
        DataError: if no column can be the label or the text, or several could be the label.
    """
    found = Columns()
    _find_labels(found, files, given=labels, ask=ask)
    place = _places(found, files)
    _find_ids(found, files, place)
    _find_texts(found, files, place)
    renamed = {"text": found.text, "text_pair": found.text_pair}
    for key, columns in renamed.items():
        if columns is not None and (moved := _moved(columns, place)) != columns:
            found.test[key] = _single(moved)
    return found


def _single(columns: Any) -> Any:
    return columns[0] if isinstance(columns, list) and len(columns) == 1 else columns


def _moved(columns: Any, place: Mapping[Column, Column]) -> Any:
    return [place[column] for column in columns] if isinstance(columns, list) else place[columns]


def _find_labels(found: Columns, files: TaskFiles, *, given: Sequence[str], ask: Ask) -> None:
    train, test, sample = files.train, files.test, files.sample
    if given:
        found.label = [next((column for column in train.columns if str(column) == name), name) for name in given]
        if unknown := [name for name in found.label if name not in train.columns]:
            known = [str(column) for column in train.columns]
            raise DataError(f"{train.path}: --label: {expected(unknown[0], known)}", code="E303")
        return
    if not train.form.header:
        found.label = [_label_position(train, test)]
        return
    answers = answer_columns(sample, test) if sample else []
    only = [column for column in train.columns if column not in test.columns]
    if named := [column for column in answers if column in only]:
        found.label = named
        return
    classes = set(map(str, answers))
    if len(answers) > 1 and (columns := [c for c in train.columns if train.values(c) - {""} == classes]):
        found.label, found.wants_probabilities = columns[:1], True
        return
    found.label = _likely_labels(train, test, only, ask)


def _likely_labels(train: RawFile, test: RawFile, only: list[Column], ask: Ask) -> list[Column]:
    """Return the label columns by their names, of those that the test file lacks: one, or several of 0 and 1."""
    likely = only or [column for column in train.columns if LABEL.search(column)]
    likely = [column for column in likely if LABEL.search(str(column))] or likely
    likely = [column for column in likely if not ID.search(str(column))] or likely
    if not likely:
        must = f"must have a column that {test.path.name} lacks, the label, got {train.columns} in both"
        raise DataError(f"{train.path}: {must}. Name it: --label <column>.", code="E303")
    if len(likely) == 1 or all(train.values(column) <= {"0", "1"} for column in likely):
        return likely
    answer = ask("Which column is the label?", [str(column) for column in likely])
    if answer is None:
        named = " or ".join(map(repr, likely))
        raise DataError(f"{train.path}: which column is the label, {named}? Name it: --label <column>.", code="E303")
    return [answer]


def _label_position(train: RawFile, test: RawFile) -> int:
    """Return the position without which the columns of a training file are most like those of the test file."""
    if len(train.columns) != len(test.columns) + 1:
        if len(train.columns) == len(test.columns):
            return len(train.columns) - 1
        got = f"got {len(train.columns)} and {len(test.columns)}"
        text = (
            f"{train.path}: must have one column more than {test.path.name}, {got}. Name the label: --label <position>."
        )
        raise DataError(text, code="E303")
    lengths = [np.array([_length(file, column) for column in file.columns]) for file in (train, test)]
    away = [np.abs(np.log(np.delete(lengths[0], place) / lengths[1])).sum() for place in train.columns]
    return int(len(away) - 1 - np.argmin(away[::-1]))


def _length(file: RawFile, column: Column) -> float:
    return float(file.rows[column].str.len().mean()) + 1


def _places(found: Columns, files: TaskFiles) -> dict[Column, Column]:
    """Return where the test file has the columns of the training file, those that it has."""
    train, test = files.train, files.test
    if train.form.header or len(train.columns) == len(test.columns):
        return {column: column for column in train.columns if column in test.columns}
    rest = [column for column in train.columns if column not in found.label]
    return dict(zip(rest, test.columns, strict=False))


def _find_ids(found: Columns, files: TaskFiles, place: Mapping[Column, Column]) -> None:
    train, test, sample = files.train, files.test, files.sample
    ids = id_places(sample, test) if sample else None
    of_test = ids[1] if ids else next((c for c in test.columns if len(test.columns) > 1 and _is_id(test, c)), None)
    back = {there: here for here, there in place.items()}
    own = back.get(of_test) if of_test is not None else None
    if own is None or not _is_id(train, own):
        own = next((c for c in train.columns if c not in place and c not in found.label and _is_id(train, c)), None)
    found.id = own
    if of_test is not None and of_test != own:
        found.test["id"] = of_test
    elif of_test is None:
        if own is not None:
            found.test["id"] = None
        if sample is not None and counts_from(sample):
            found.test["first_id"] = counts_from(sample)


def _n_tokens(file: RawFile, column: Column) -> float:
    return float(count_tokens(pa.array(file.rows[column], pa.large_string())).mean())


def _is_id(file: RawFile, column: Column) -> bool:
    values = file.rows[column]
    is_short = values.str.len().max() <= LONGEST_ID and _n_tokens(file, column) <= FEWEST_TOKENS
    return bool(values.is_unique and (values != "").all() and is_short and not values.str.contains(r"\s").any())


def _find_texts(found: Columns, files: TaskFiles, place: Mapping[Column, Column]) -> None:
    train = files.train
    taken = {
        found.id,
        *found.label,
        next((here for here, there in place.items() if there == found.test.get("id")), None),
    }
    rest = [column for column in place if column not in taken]
    texts = [column for column in rest if _is_text(train, column)]
    texts = (
        texts
        or sorted((c for c in rest if not train.rows[c].map(is_number).all()), key=lambda c: -_length(train, c))[:1]
    )
    if not texts:
        raise DataError(
            f"{train.path}: must have a column of texts that {files.test.path.name} has too, got {rest}. Name --test.",
            code="E303",
        )
    lengths = [_length(train, column) for column in texts]
    if len(texts) == 2 and max(lengths) <= ALIKE * min(lengths) and not any(HEADLINE.search(str(c)) for c in texts):
        found.text, found.text_pair = texts[:1], texts[1]
    else:
        found.text = texts
    others = [
        column for column in train.columns if column not in {*found.text, found.text_pair, found.id, *found.label}
    ]
    found.group = next((column for column in others if GROUP.search(str(column)) and _is_group(train, column)), None)
    found.spare = [column for column in rest if column in others and column != found.group]


def _is_text(file: RawFile, column: Column) -> bool:
    values = file.rows[column]
    is_varied = (values != "").mean() >= FILLED and values.nunique() >= VARIED * len(values)
    is_long = _n_tokens(file, column) >= FEWEST_TOKENS
    return bool(is_varied and is_long and not values.map(is_number).all())


def _is_group(file: RawFile, column: Column) -> bool:
    values = file.rows[column]
    return bool((values != "").all() and FEWEST_GROUPS <= values.nunique() < FILLED * len(values))


def relate_pairs(found: Columns, train: RawFile) -> tuple[bool, str]:
    """Return whether pairs that share a sentence can share a fold, and why; where they cannot, set the group that comes near.

    Nothing is to be done where no sentence recurs.
    """
    if found.text_pair is None:
        return False, ""
    rows = pd.DataFrame({"text": train.rows[found.text[0]], "text_pair": train.rows[found.text_pair], "group": None})
    clusters = related_rows(rows, np.arange(len(rows)), group_pairs=True)
    sizes = np.bincount(clusters)
    tied = int(sizes[sizes > 1].sum())
    if sizes.max() <= max(1.0, TOO_LARGE * len(rows)):
        return tied > 0, f"{tied} of {len(rows)} pairs share a sentence with another one"
    columns = [found.text[0], found.text_pair]
    found.group = found.group or min(columns, key=lambda column: train.rows[column].nunique())
    return (
        False,
        f"shared sentences chain {sizes.max()} of {len(rows)} pairs together, so rows are grouped by {found.group}",
    )
