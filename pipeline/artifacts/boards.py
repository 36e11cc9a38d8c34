"""`boards/<competition>.csv`: what was submitted, expected, and said by the board; kept in git, not by DVC."""

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pydantic
from pydantic.dataclasses import dataclass as checked

from pipeline.artifacts.files import write_atomically
from pipeline.artifacts.paths import BOARDS
from pipeline.errors.exceptions import DataError


@checked(frozen=True, config={"extra": "forbid", "allow_inf_nan": False})
class Submitted:
    """One submission; `estimate`, `low` and `high` are what was expected on the test rows before the board was seen."""

    date: str
    file: str
    """`sha256:<digest>`, or `<owner>/<notebook>/<version>/<file>` for what a notebook writes where it is scored."""
    model: str
    message: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    public: float | None = None
    private: float | None = None
    ref: str = ""
    """The board's own number of the submission; empty before it is known, and for scores entered by hand."""

    @property
    def inside(self) -> bool | None:
        """Whether the public score lies in the interval; None where one of them is not known."""
        known = self.public is not None and self.low is not None and self.high is not None
        return self.low <= self.public <= self.high if known else None  # type: ignore[operator]


@dataclass(frozen=True)
class Board:
    """The submissions of a competition, in a file that people may edit too."""

    competition: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return BOARDS / f"{self.competition}.csv"

    def read(self) -> list[Submitted]:
        """Return the submissions, oldest first; none where there is no file.

        Raises:
            DataError: if a line is none of them.
        """
        if not self.path.exists():
            return []
        content = io.StringIO(self.path.read_text(encoding="utf-8"), newline="")
        rows, submissions = csv.DictReader(content, restkey="too many fields"), []
        for row in rows:
            try:
                submissions.append(Submitted(**{name: value for name, value in row.items() if value}))  # type: ignore[arg-type]
            except pydantic.ValidationError as error:
                wrong = error.errors()[0]
                text = f"{wrong['loc'][0]}: {wrong['msg']}, got {wrong['input']!r}. Mend the line."
                raise DataError(f"{self.path}:{rows.line_num}: {text}", code="E307") from error
        return submissions

    def last(self, file: str) -> Submitted | None:
        """Return the last submission of a file, or None."""
        return next((row for row in reversed(self.read()) if row.file == file), None)

    def note(self, *new: Submitted, instead_of: Submitted | None = None) -> None:
        """Write a submission down, or none, in the place of another or at the end."""
        rows = self.read()
        at = rows.index(instead_of) if instead_of in rows else len(rows)
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Submitted)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in [*rows[:at], *new, *rows[at + 1 :]])
        write_atomically(self.path, text.getvalue().encode())
