"""The record of what was submitted: of one test file as it is, of several by the names of their files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.paths import SUBMISSION, SUBMIT
from pipeline.errors.exceptions import ParamsError, expected


class Submission(TypedDict):
    """A submission: its file, the model, the digest of the fold manifest, and per task `rows` and the counts of `labels`."""

    path: str
    sha256: str
    model: str
    manifest: str
    tasks: dict[str, dict[str, Any]]


def write_submissions(records: Mapping[str, Submission], folder: Path = SUBMIT) -> None:
    """Write the records of submissions by the names of their test files; that of a single file may be empty."""
    write_json(folder / SUBMISSION.name, records.get("", {"files": records}))


def read_submissions(folder: Path = SUBMIT) -> dict[str, Submission]:
    """Return the records by the names of the test files."""
    record = read_json(folder / SUBMISSION.name)
    records: dict[str, Submission] = record.get("files") or {"": record}
    return records


def chosen(records: Mapping[str, Submission], file: str | None) -> str:
    """Return the name of a test file that was asked for, or of the only one.

    >>> chosen({"": {}}, None), chosen({"a": {}, "b": {}}, "b")
    ('', 'b')

    Raises:
        ParamsError: if there is none of that name, or which of several is not said.
    """
    if file is None and len(records) == 1:
        return next(iter(records))
    if "" in records:
        raise ParamsError(
            f"--test: must not be given where the only test file has no name, got {file!r}. Leave it out."
        )
    if file is None or file not in records:
        raise ParamsError(f"--test: {expected(file, records)}")
    return file
