"""What kind of task the labels of a training file make, and how a submission shows them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import pandas as pd

from pipeline import components
from pipeline.errors.exceptions import DataError, shown
from pipeline.start.files import RawFile, is_number

SEPARATORS = (" ", ",", "|", ";")
ALONE = 0.8  # share of the names in cells of several that also stand alone: else the blanks are part of the names
MOST_NUMBERS = 60  # distinct whole numbers; more are values, not classes
MOST_GRADES = 12
MOST_DISTINCT = 0.5  # labels per row
ORDERED = {"score", "scores", "rating", "ratings", "star", "stars", "grade", "grades", "level", "levels"}
PLACEHOLDERS = {"sample_values": "placeholders"}
BALANCED = 3.0  # times the rarest class's rows


@dataclass(frozen=True)
class Labels:
    """What the labels are: the shape of a task's target, why, and the rows of each class, the most frequent first."""

    shape: str  # two, several, names, columns, grades, number or numbers
    why: str
    counts: dict[str, int]
    separator: str | None = None
    n_missing: int = 0

    @property
    def is_even(self) -> bool:
        """Whether the most frequent class has few times the rows of the rarest."""
        return bool(self.counts) and max(self.counts.values()) <= BALANCED * min(self.counts.values())


def look_at_labels(train: RawFile, columns: Sequence[str | int]) -> Labels:
    """Return what the label columns of a training file hold.

    Raises:
        DataError: if one column holds fewer than two values, or hardly any twice that are no numbers.
    """
    if len(columns) > 1:
        return _several_columns(train, columns)
    cells = train.rows[columns[0]]
    given = cells[cells != ""]
    n_missing, counts = int((cells == "").sum()), Counter(given)
    distinct = dict(counts.most_common())
    if len(distinct) < 2:
        _refuse(train, columns[0], f"two labels or more, got {list(distinct) or 'none'}")
    if given.map(is_number).all():
        return _numbers(str(columns[0]), given, distinct, n_missing)
    if (names := _names(given)) is not None:
        separator, pieces = names
        several = shown(next(cell for cell in distinct if separator in cell))
        why = f"cells such as {several} name several of {len(pieces)} labels"
        return Labels("names", why, pieces, separator, n_missing)
    if len(distinct) > MOST_DISTINCT * len(given):
        _refuse(train, columns[0], f"labels that recur, got {len(distinct)} in {len(given)} rows")
    return Labels(*_classes(distinct), distinct, n_missing=n_missing)


def _refuse(train: RawFile, column: str | int, must: str) -> NoReturn:
    raise DataError(f"{train.path}: the label {column!r} must hold {must}. Name another one: --label <column>.")


def _several_columns(train: RawFile, columns: Sequence[str | int]) -> Labels:
    cells = train.rows[list(columns)]
    if cells.isin(["0", "1"]).all(axis=None):
        counts = {str(column): int((cells[column] == "1").sum()) for column in columns}
        return Labels("columns", f"{len(columns)} columns of 0 and 1", counts)
    return Labels("numbers", f"{len(columns)} columns of numbers", {})


def _numbers(name: str, given: pd.Series, distinct: dict[str, int], n_missing: int) -> Labels:
    values = sorted({float(cell) for cell in distinct})
    if any(value != int(value) for value in values) or len(values) > MOST_NUMBERS:
        why = f"{len(values)} distinct numbers from {values[0]:g} to {values[-1]:g}"
        return Labels("number", why, {}, n_missing=n_missing)
    is_run = values == [values[0] + step for step in range(len(values))]
    if 2 < len(values) <= MOST_GRADES and is_run and set(name.lower().split("_")) & ORDERED:
        why = f"{name} has the numbers from {values[0]:g} to {values[-1]:g}, which by its name have an order"
        return Labels("grades", why, distinct, n_missing=n_missing)
    return Labels(*_classes(distinct), distinct, n_missing=n_missing)


def _classes(distinct: dict[str, int]) -> tuple[str, str]:
    (most, n_most), *_, (rarest, n_rarest) = [*distinct.items(), *distinct.items()]
    why = f"{len(distinct)} labels, from {shown(rarest)} ({n_rarest} rows) to {shown(most)} ({n_most})"
    return "two" if len(distinct) == 2 else "several", why


def _names(given: pd.Series) -> tuple[str, dict[str, int]] | None:
    """Return what separates the names where cells name several labels, and how often each stands; None where they do not."""
    distinct = set(given)
    for separator in SEPARATORS:
        split = [cell.split(separator) for cell in given]
        several = {cell for cell in distinct if separator in cell}
        pieces = Counter(piece for names in split for piece in names)
        alone = sum(piece in distinct for piece in pieces)
        if several and len(pieces) < len(distinct) and alone >= ALONE * len(pieces) and all(pieces):
            return separator, dict(pieces.most_common())
    return None


def kind_for(shape: str) -> str:
    """Return the kind of task for a shape of labels, by what the files of the kinds say of themselves."""
    forms = {"names": "multilabel", "columns": "multilabel", "number": "number", "numbers": "number"}
    wanted = (forms.get(shape, "class"), 2 if shape == "two" else None, shape == "grades")
    constants = ("FORM", "N_LABELS", "ORDER")
    for kind in components.available("task_kinds"):
        form, n_labels, order = (components.constant("task_kinds", kind, name) for name in constants)
        if (form, n_labels, order is not None) == wanted:
            return kind
    raise KeyError(shape)


def sample_values(labels: Labels, cells: pd.DataFrame) -> dict[str, Any]:
    """Return the options of a submission that a sample's values ask for: probabilities, several labels a row, or none."""
    said = {cell for column in cells for cell in cells[column] if cell.strip()}
    if labels.shape in ("number", "numbers") or not said:
        return {}
    known = {"0", "1"} if labels.shape == "columns" else set(labels.counts)
    if labels.shape == "names":
        pieces = {piece for cell in said for piece in re.split(r"\W+", cell)}
        return {} if pieces & {word for name in known for word in re.split(r"\W+", name)} else PLACEHOLDERS
    if said <= known:
        return {}
    if all(is_number(cell) and 0 <= float(cell) <= 1 for cell in said) and any("." in cell for cell in said):
        return {"values": "probabilities"}
    if all(set(cell.split()) <= known for cell in said):
        return {"values": "top_k", "k": max(len(cell.split()) for cell in said)}
    return PLACEHOLDERS
