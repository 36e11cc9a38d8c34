"""The submission of Kaggle, DrivenData and most leaderboards: a CSV of ids with labels or probabilities.

Ids, their order and the header are those of the organiser's sample file; without one, those of the test file and
the options. The dialect is RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180) with Unix line ends, in UTF-8.
"""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from pipeline.artifacts.files import write_atomically
from pipeline.contracts import DECIDED, PROBABILITY, Format
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.submit.submitting import (
    check_ids,
    check_labels,
    decode_strictly,
    has_several,
    labels_of,
    ordered_ids,
    refused,
)

TOLERANCE = 1e-6


def build(
    *, values: Literal["labels", "probabilities"] = "labels", id_column: str = "id", label_column: str = "label",
    file_name: str = "submission.csv",
) -> Format:  # fmt: skip
    """Return the format; the column names are used only where there is no sample file."""
    return KaggleCsv(values, id_column, label_column, file_name)


@dataclass(frozen=True)
class KaggleCsv:
    """One row per test row: id and label, id and one probability, or id and a probability per label.

    Where a row may have several labels, these are their names in one column, or 0 or 1 per label: as the sample has it.
    """

    values: str
    id_column: str
    label_column: str
    file_name: str

    def write(self, predictions: dict[str, pd.DataFrame], samples: dict[str, Path | None], folder: Path) -> Path:
        """Write the submission of the only task and return its path.

        Raises:
            DataError: if the sample disagrees with the test file or the labels.
            ParamsError: if there are several tasks.
        """
        header, rows = self._content(predictions, samples)
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
        path = folder / self.file_name
        write_atomically(path, buffer.getvalue().encode("utf-8"))
        return path

    def check(self, path: Path, predictions: dict[str, pd.DataFrame], samples: dict[str, Path | None]) -> None:
        """Read the file back and compare it with the sample and the predictions.

        Raises:
            DataError: on anything that the competition would refuse or that is not what was predicted.
        """
        (header, expected), where = self._content(predictions, samples), str(path)
        text = decode_strictly(path.read_bytes(), where=where)
        try:
            first, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        except csv.Error as error:
            raise refused(where, f"must be a CSV file, got: {error}") from error
        if first != header:
            raise refused(where, f"must have the columns {header}, got {first}")
        for line, row in enumerate(rows, start=2):
            if len(row) != len(header):
                raise refused(where, f"line {line} must have {len(header)} fields, got {row}")
        check_ids([row[0] for row in rows], [row[0] for row in expected], where=where)
        [frame] = predictions.values()
        several = has_several(frame)
        if self.values == "labels":
            allowed = None if several else labels_of(frame) or None
            for column in range(1, len(header)):
                of_column = where if len(header) == 2 else f"{where}, {header[column]}"
                check_labels([row[column] for row in rows], [row[column] for row in expected], allowed, where=of_column)
        else:
            _check_probabilities(rows, expected, where, exclusive=not several)

    def _content(
        self, predictions: dict[str, pd.DataFrame], samples: dict[str, Path | None]
    ) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows, as text, that the file must have."""
        if len(predictions) != 1:
            raise ParamsError(
                f"submission.format: kaggle_csv takes one task, got {list(predictions)}. "
                "Choose tianchi_json, or keep one params.yaml per task.",
                code="E203",
            )
        task, frame = next(iter(predictions.items()))
        sample = samples.get(task)
        sample_rows = [] if sample is None else _read_sample(sample)
        header, columns = self._columns(frame, sample, sample_rows[0] if sample_rows else None)
        sample_ids = [row[0] for row in sample_rows[1:]] if sample_rows else None
        ids = ordered_ids(frame["row_id"].tolist(), sample_ids, task=task, sample=sample)
        values = frame.set_index("row_id")[columns].loc[ids]
        # repr of a float is the shortest text that reads back as the same number.
        rows = [[row_id, *map(_text, row)] for row_id, row in zip(ids, values.itertuples(index=False), strict=True)]
        return header, rows

    def _columns(
        self, frame: pd.DataFrame, sample: Path | None, header: list[str] | None
    ) -> tuple[list[str], list[str]]:
        """Return the file's header and the prediction columns that fill what follows the id."""
        labels = labels_of(frame)
        several = self.values == "probabilities" and (len(labels) > 2 or has_several(frame))
        if header is None:
            header = [self.id_column, *(labels if several else [self.label_column])]
        where = f"{sample}: with {self.values} of {len(labels)} labels"
        if self.values == "labels":
            if has_several(frame) and sorted(header[1:]) == sorted(labels):
                return header, [DECIDED + label for label in header[1:]]
            if len(header) != 2:
                names = f", or {labels} after the id" if has_several(frame) else ""
                text = f"{where} must have two columns{names}, got {header}. Did you want values: probabilities?"
                raise DataError(text, code="E306")
            return header, ["label"]
        if len(header) == 2 and not several:
            return header, [PROBABILITY + labels[1]]
        if sorted(header[1:]) != sorted(labels):
            raise DataError(
                f"{where} must have the labels {labels} after the id, got {header[1:]}. "
                "Correct submission.format.values or labels.",
                code="E305",
            )
        return header, [PROBABILITY + label for label in header[1:]]


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else repr(float(value))


def _read_sample(path: Path) -> list[list[str]]:
    """Return the organiser's rows; theirs may have a byte-order mark or carriage returns, ours never does."""
    try:
        text = io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")
        rows = [row for row in csv.reader(text, strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: must be a CSV file in UTF-8, got: {error}. Download it again.", code="E306"
        ) from error
    widths = {len(row) for row in rows}
    if len(rows) < 2 or len(widths) != 1 or widths == {1}:
        raise DataError(
            f"{path}: must have a header and rows of two or more columns, got {rows[:2]}. Download it again.",
            code="E306",
        )
    return rows


def _check_probabilities(
    rows: list[list[str]], expected: list[list[str]], where: str, *, exclusive: bool = True
) -> None:
    for line, ((_, *cells), (_, *wanted)) in enumerate(zip(rows, expected, strict=True), start=2):
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError as error:
            raise refused(where, f"line {line} must hold numbers, got {cells}") from error
        if not all(0 <= number <= 1 for number in numbers):  # NaN is not
            raise refused(where, f"line {line} must hold probabilities in [0, 1], got {cells}", "Check the model.")
        total = math.fsum(numbers)
        if exclusive and len(numbers) > 1 and abs(total - 1) > TOLERANCE:
            raise refused(where, f"line {line} must sum to 1 within {TOLERANCE}, got {total}", "Check the model.")
        if numbers != [float(cell) for cell in wanted]:
            raise refused(where, f"line {line} was predicted as {wanted}, got {cells}")
