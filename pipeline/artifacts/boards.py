"""`boards/<competition>.csv`: what was submitted, expected, and said by the board; kept in git, not by DVC."""

import csv
import io
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pipeline.artifacts.files import write_atomically
from pipeline.artifacts.paths import BOARDS
from pipeline.errors.exceptions import DataError, shown
from pipeline.number_formats import number_in

NUMBERS = ("estimate", "low", "high", "public", "private")


@dataclass(frozen=True)
class Submitted:
    """One submission. `estimate`, `low` and `high` are what was expected on the test rows before the board was seen."""

    date: str
    file: str
    """`sha256:<digest>`, or `<owner>/<notebook>/<version>/<file>` for what a notebook writes where it is scored."""
    model: str
    message: str
    estimate: float | None
    low: float | None
    high: float | None
    public: float | None = None
    private: float | None = None
    ref: str = ""
    """The board's own number of the submission; empty before it is known, and for scores entered by hand."""

    @property
    def inside(self) -> bool | None:
        """Whether the public score lies in the interval; None where one of them is not known."""
        if self.public is None or self.low is None or self.high is None:
            return None
        return self.low <= self.public <= self.high


COLUMNS = [field.name for field in fields(Submitted)]


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
            DataError: if a line is not one of them.
        """
        if not self.path.exists():
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames != COLUMNS:
                must = f"must have the columns {','.join(COLUMNS)}, got {shown(','.join(rows.fieldnames or []))}"
                raise DataError(f"{self.path}:1: {must}. Bring it back from git, or name them so.", code="E303")
            return [self._parse(row, rows.line_num) for row in rows]

    def last(self, file: str) -> Submitted | None:
        """Return the last submission of a file, or None."""
        return next((row for row in reversed(self.read()) if row.file == file), None)

    def note(self, new: Submitted, *, instead_of: Submitted | None = None) -> Submitted:
        """Write a submission down, in the place of another or at the end, and return it."""
        rows = self.read()
        self._write([new if row == instead_of else row for row in rows] + [new] * (instead_of not in rows))
        return new

    def drop(self, submitted: Submitted) -> None:
        """Forget a submission that the board did not take."""
        self._write([row for row in self.read() if row != submitted])

    def _write(self, rows: list[Submitted]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
        write_atomically(self.path, text.getvalue().encode())

    def _parse(self, row: dict[str, str | None], line: int) -> Submitted:
        texts = {key: value for key, value in row.items() if isinstance(key, str) and isinstance(value, str)}
        if len(texts) < len(COLUMNS) or len(row) > len(COLUMNS):
            text = f"{self.path}:{line}: must have {len(COLUMNS)} fields, got more or fewer. Mend the line."
            raise DataError(text, code="E307")
        numbers = {name: _number(texts.pop(name)) for name in NUMBERS}
        if wrong := [name for name, number in numbers.items() if number is not None and not math.isfinite(number)]:
            text = f"{self.path}:{line}: {wrong[0]} must be a number or empty, got {row[wrong[0]]!r}. Mend the line."
            raise DataError(text, code="E307")
        return Submitted(**texts, **numbers)  # type: ignore[arg-type]


def _number(text: str) -> float | None:
    """Return a field's number, None where it is empty, one that is not finite where it is no number."""
    number = number_in(text) if text else None
    return float("nan") if text and number is None else None if number is None else float(number)
