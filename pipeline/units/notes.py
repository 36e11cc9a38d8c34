"""The notes that a unit leaves in its folder: what it is, how far it is, why it was given up.

They serve people and what looks at the work, never a result: a damaged note says nothing.
"""

import json
from pathlib import Path
from typing import Any, Required, TypedDict, cast

UNIT, PROGRESS, FAILURE = "unit.json", "progress.json", "failed.json"


class UnitNote(TypedDict, total=False):
    """`unit.json`: the name beside all that the result depends on, of which these entries are read by name."""

    name: Required[str]
    step: str
    recipe: str
    seed: int
    model: str


class Progress(TypedDict, total=False):
    """`progress.json`: steps and what the monitor was told with them; a unit that predicts has no loss."""

    step: float
    n_steps: float
    seconds_per_step: float
    loss: float
    score: float
    tokens_per_second: float


class Failure(TypedDict, total=False):
    """`failed.json`: the error on which the unit was given up."""

    code: str
    message: str


def read_unit_note(folder: Path) -> UnitNote:
    """Return what the unit of a folder is, its key for a name where that is not known."""
    return cast(UnitNote, {"name": folder.name, **_read(folder / UNIT)})


def read_progress(folder: Path) -> Progress:
    """Return what the unit of a folder noted last while it ran; nothing where there is no step."""
    return cast(Progress, _read(folder / PROGRESS))


def read_failure(folder: Path) -> Failure:
    """Return why the unit of a folder was given up."""
    return cast(Failure, _read(folder / FAILURE))


def _read(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
