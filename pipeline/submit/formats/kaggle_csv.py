"""The submission of Kaggle, DrivenData and most leaderboards: a CSV of ids with labels or probabilities.

Ids, their order, the header and the separator are those of the organiser's sample file; without one, those of the test file
and the options. The dialect is RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180) with Unix line ends, in UTF-8.
"""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

from pipeline.artifacts.files import write_atomically
from pipeline.contracts import DECIDED, PROBABILITY, VALUE
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.ranges import FileName, Name, PositiveInt
from pipeline.submit.format import Format, Sample, has_numbers
from pipeline.submit.rankings import RANKING, ranked
from pipeline.submit.sample_values import (
    check_sample_decisions,
    check_sample_labels,
    check_sample_names,
    check_sample_numbers,
    check_sample_probabilities,
    check_sample_rankings,
)
from pipeline.submit.submitting import (
    check_ids,
    check_labels,
    decode_strictly,
    has_several,
    labels_of,
    ordered_ids,
    refused,
)

# Boards and spreadsheets cut a row or a field at these, in quotes too.
UNWRITABLE = {"\r": "a carriage return", "\0": "a zero byte"}
TOLERANCE = 1e-6
ORDER = {"probabilities": "the one whose probability is submitted last"}


def build(
    *, values: Literal["labels", "probabilities", "top_k"] = "labels", k: PositiveInt = 3, id_column: Name = "id",
    label_column: Name = "label", file_name: FileName = "submission.csv",
    sample_values: Literal["labels", "placeholders"] = "labels",
) -> Format:  # fmt: skip
    """Return the format; the column names are used only where there is no sample file.

    With `values: top_k` a row has its `k` likeliest labels, the likeliest first, with blanks between them.
    With `sample_values: placeholders` the sample's values are not compared with what is submitted.
    """
    return KaggleCsv(values, id_column, label_column, file_name, sample_values, k)


@dataclass(frozen=True)
class KaggleCsv:
    """One row per test row: id and label, id and the `k` likeliest, id and one probability or number, or one per label.

    Where a row may have several labels, these are their names in one column, or 0 or 1 per label: as the sample has it.
    The id stands where the sample has it; if nowhere, rows are in the order of the test file.
    The one probability of two labels is that of the label that the header names, else of the second one.
    """

    values: str
    id_column: str
    label_column: str
    file_name: str
    sample_values: str = "labels"
    k: int = 1

    def write(self, predictions: dict[str, pd.DataFrame], samples: dict[str, Sample | None], folder: Path) -> Path:
        """Write the submission of the only task and return its path.

        Raises:
            DataError: if the sample disagrees with the test file or the labels.
            ParamsError: if there are several tasks.
        """
        layout, rows = self._content(predictions, samples)
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=layout.separator, lineterminator="\n").writerows([*layout.head, *rows])
        path = folder / self.file_name
        write_atomically(path, buffer.getvalue().encode("utf-8"))
        return path

    def check(self, path: Path, predictions: dict[str, pd.DataFrame], samples: dict[str, Sample | None]) -> None:
        """Read the file back and compare it with the sample and the predictions.

        Raises:
            DataError: on anything that the competition would refuse or that is not what was predicted.
        """
        (layout, expected), where = self._content(predictions, samples), str(path)
        text = decode_strictly(path.read_bytes(), where=where)
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=layout.separator, strict=True))
        except csv.Error as error:
            raise refused(where, f"must be a CSV file, got: {error}") from error
        n_head = len(layout.head)
        if rows[:n_head] != layout.head:
            raise refused(where, f"must have the columns {layout.head[0]}, got {rows[0]}")
        for line, row in enumerate(rows, start=1):
            if len(row) != len(layout.header):
                raise refused(where, f"line {line} must have {len(layout.header)} fields, got {row}")
        ids, cells = layout.parts(rows[n_head:])
        wanted_ids, wanted = layout.parts(expected)
        if layout.id_place is not None:
            check_ids(ids, wanted_ids, where=where)
        elif len(cells) != len(wanted):
            raise refused(where, f"must have {len(wanted)} rows, got {len(cells)}")
        [frame] = predictions.values()
        several, numbers = has_several(frame), has_numbers(frame)
        if self.values == "probabilities" or numbers:
            _check_numbers(cells, wanted, where, first=n_head + 1, probable=not numbers, exclusive=not several)
            return
        allowed = None if several or self.values == "top_k" else labels_of(frame) or None
        for place, name in enumerate(layout.values):
            of_column = where if len(layout.values) == 1 else f"{where}, {name.removeprefix(DECIDED)}"
            check_labels([row[place] for row in cells], [row[place] for row in wanted], allowed, where=of_column)

    def _content(
        self, predictions: dict[str, pd.DataFrame], samples: dict[str, Sample | None]
    ) -> tuple["_Layout", list[list[str]]]:
        """Return what a row holds and the rows, as text, that the file must have."""
        if len(predictions) != 1:
            raise ParamsError(
                f"submission.format: kaggle_csv takes one task, got {list(predictions)}. "
                "Choose tianchi_json, or keep one params.yaml per task.",
                code="E203",
            )
        task, frame = next(iter(predictions.items()))
        sample, ids, labels = samples.get(task), frame["row_id"].tolist(), labels_of(frame)
        if self.values != "labels" and has_numbers(frame):
            text = (
                f"tasks.{task}.submission.format.values: must be labels where targets are numbers, got {self.values}."
            )
            raise ParamsError(f"{text} Remove it.", code="E203")
        if self.values == "top_k":
            frame = frame.assign(**{RANKING: ranked(frame, labels, k=self.k, task=task)})
        layout = self._layout(frame, sample, ids)
        sample_ids = None
        if sample is not None and layout.id_place is not None:
            sample_ids = sample.column(layout.id_place)
        elif sample is not None:
            _check_sample_without_ids(sample, ids, task)
        ids = ordered_ids(ids, sample_ids, task=task, sample=None if sample is None else sample.path)
        if sample is not None and self.sample_values == "labels":
            self._sample_check(frame, layout)(layout.values_of(sample), labels, task=task, sample=sample.path)
        _refuse_unwritable(ids, layout.header if self.values == "probabilities" else labels, task=task)
        values = frame.set_index("row_id")[layout.values].loc[ids]
        # repr of a float is the shortest text that reads back as the same number.
        rows = [list(map(_text, row)) for row in values.itertuples(index=False)]
        for row_id, row in zip(ids, rows, strict=True):
            if layout.id_place is not None:
                row.insert(layout.id_place, row_id)
        return layout, rows

    def _sample_check(self, frame: pd.DataFrame, layout: "_Layout") -> Callable[..., None]:
        """Return what checks the sample's values for what stands in their place."""
        if has_numbers(frame):
            return check_sample_numbers
        if self.values == "probabilities":
            return check_sample_probabilities
        if self.values == "top_k":
            return partial(check_sample_rankings, k=self.k)
        if has_several(frame):
            return check_sample_names if layout.values == ["label"] else check_sample_decisions
        return check_sample_labels

    def _layout(self, frame: pd.DataFrame, sample: Sample | None, test_ids: list[str]) -> "_Layout":
        """Return what a row holds: what the sample's does, or the id and what was predicted."""
        labels, several, numbers = labels_of(frame), has_several(frame) and self.values != "top_k", has_numbers(frame)
        prefix = VALUE if numbers else PROBABILITY if self.values == "probabilities" else DECIDED
        each = len(labels) > 1 if numbers else self.values == "probabilities" and (len(labels) > 2 or several)
        if sample is None:
            header = [self.id_column, *(labels if each else [self.label_column])]
            return _Layout(header, 0, [prefix + label for label in labels] if each else self._only(frame))
        names = sample.names
        is_without_ids = ((each or several) and sorted(names) == sorted(labels)) or (len(names) == 1 and not each)
        place = None if is_without_ids else sample.id_column(test_ids)
        values = [name for position, name in enumerate(names) if position != place]
        where = f"{sample.path}: with {self.values} of {len(labels)} labels"
        if len(values) == 1 and not each:
            columns = self._only(frame, named=values[0])
        elif sorted(values) == sorted(labels) and (each or several):
            columns = [prefix + label for label in values]
        elif self.values != "probabilities" and not numbers:
            wanted = f"two columns{f', or {labels} beside the id' * several}"
            text = f"{where} must have {wanted}, got {names}. Did you want values: probabilities?"
            raise DataError(text, code="E306")
        else:
            raise DataError(
                f"{where} must have the labels {labels} beside the id, got {values}. "
                "Correct submission.format.values or labels.",
                code="E305",
            )
        return _Layout(names, place, columns, sample.separator, sample.header)

    def _only(self, frame: pd.DataFrame, *, named: str = "") -> list[str]:
        """Return the prediction column of a file with one value per row, which is `named`."""
        labels = labels_of(frame)
        if has_numbers(frame):
            return [VALUE + labels[0]]
        if self.values == "probabilities":
            return [PROBABILITY + (named if named in labels else labels[1])]
        return [RANKING if self.values == "top_k" else "label"]


@dataclass(frozen=True)
class _Layout:
    """What a row of the file holds: at `id_place` the id, and around it these columns of the predictions."""

    header: list[str]
    id_place: int | None
    values: list[str]
    separator: str = ","
    has_header: bool = True

    @property
    def head(self) -> list[list[str]]:
        """The rows before the first row of values."""
        return [self.header] if self.has_header else []

    def parts(self, rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
        """Return the ids of rows, of which there may be none, and what else they hold."""
        if self.id_place is None:
            return [], rows
        place = self.id_place
        return [row[place] for row in rows], [row[:place] + row[place + 1 :] for row in rows]

    def values_of(self, sample: Sample) -> list[str]:
        """Return what a sample holds beside the ids."""
        return [v for place in range(len(self.header)) if place != self.id_place for v in sample.column(place)]


def _check_sample_without_ids(sample: Sample, test_ids: list[str], task: str) -> None:
    """Check that a sample without ids has a row for each of the test file's, whose order it then means."""
    if len(sample.rows) != len(test_ids):
        raise DataError(
            f"{sample.path}: without ids it must have the {len(test_ids)} rows of the test file of task {task}, got "
            f"{len(sample.rows)}. Download both again.",
            code="E306",
        )
    if set(sample.column(0)) == set(test_ids):
        text = (
            f"{sample.path}: must have a column for what is predicted, got only ids, {sample.names}. Download it again."
        )
        raise DataError(text, code="E306")


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else repr(float(value))


def _refuse_unwritable(ids: Sequence[str], names: Sequence[str], *, task: str) -> None:
    """Refuse ids, and names of labels, that no file could hold."""
    of_names = f"Rename it in tasks.{task}.rename_labels, or mend the training file."
    for cells, what, remedy in ((ids, "ids", "Mend the test file and the sample."), (names, "labels", of_names)):
        for character, name in UNWRITABLE.items():
            if held := [cell for cell in cells if character in cell]:
                text = f"{what} of task {task} must not hold {name}, got {len(held)} that do, first {held[0]!r}"
                raise refused("submission", text, remedy)


def _check_numbers(
    rows: list[list[str]], expected: list[list[str]], where: str, *, first: int, probable: bool, exclusive: bool
) -> None:
    for line, (cells, wanted) in enumerate(zip(rows, expected, strict=True), start=first):
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError as error:
            raise refused(where, f"line {line} must hold numbers, got {cells}") from error
        if probable and not all(0 <= number <= 1 for number in numbers):  # NaN is not
            raise refused(where, f"line {line} must hold probabilities in [0, 1], got {cells}", "Check the model.")
        if not all(map(math.isfinite, numbers)):
            raise refused(where, f"line {line} must hold finite numbers, got {cells}", "Check the model.")
        total = math.fsum(numbers)
        if probable and exclusive and len(numbers) > 1 and abs(total - 1) > TOLERANCE:
            raise refused(where, f"line {line} must sum to 1 within {TOLERANCE}, got {total}", "Check the model.")
        if numbers != [float(cell) for cell in wanted]:
            raise refused(where, f"line {line} was predicted as {wanted}, got {cells}")
