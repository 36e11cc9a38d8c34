"""What a format must offer, the component that writes a submission, and the sample submission that it is given.

See `pipeline/contracts.py` for the other kinds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from pipeline.contracts import VALUE
from pipeline.data.reading import LINE, read_columns, separator_of
from pipeline.params.tasks import FileForm


@dataclass(frozen=True)
class Sample:
    """The organiser's sample submission: all its columns as text, and what a submission must have in common with it."""

    path: Path
    rows: pd.DataFrame
    separator: str
    header: bool

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [str(name) for name in self.rows]

    def id_column(self, test_ids: Sequence[str]) -> int:
        """Return the place of the ids: the column with most of the test file's, of several such that with most values."""
        known, columns = set(test_ids), [set(self.column(place)) for place in range(len(self.names))]
        return max(range(len(columns)), key=lambda place: (len(known & columns[place]), len(columns[place])))

    def column(self, place: int) -> list[str]:
        """Return the values of a column."""
        values: list[str] = self.rows.iloc[:, place].tolist()
        return values


def read_sample(path: Path, form: FileForm, *, key: str) -> Sample:
    """Read a sample submission, in whatever form a training file may be; `key` is that of `form` in params.yaml.

    Raises:
        DataError: if it cannot be read so.
    """
    rows = read_columns(path, None, form, key=key).drop(columns=LINE)
    return Sample(path, rows, separator_of(path, form), form.header)


class Format(Protocol):
    """A form of submission file."""

    def write(self, predictions: dict[str, pd.DataFrame], samples: dict[str, Sample | None], folder: Path) -> Path:
        """Write the submission of all tasks into a folder, return its path; rows hold `row_id` and `TaskKind.answers`."""

    def check(self, path: Path, predictions: dict[str, pd.DataFrame], samples: dict[str, Sample | None]) -> None:
        """Read the file back from disk and raise `DataError` on anything that the competition would refuse."""


class BuildFormat(Protocol):
    """`formats/`: the file that a competition accepts; `ORDER`: by an option's value, the order of two labels that counts."""

    def __call__(self) -> Format: ...


def has_numbers(frame: pd.DataFrame) -> bool:
    """Return whether a submission frame holds numbers of any size; its labels are then their names."""
    return any(name.startswith(VALUE) for name in frame.columns)
