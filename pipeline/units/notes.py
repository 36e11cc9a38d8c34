"""The notes that a unit leaves in its folder: what it is, how far it is, why it was given up.

They serve people and what looks at the work, never a result: a damaged note, or one with a value of another type than it
must have, says nothing.
"""

import json
import math
from pathlib import Path
from typing import Any, Required, TypedDict, cast, get_type_hints

UNIT, PROGRESS, FAILURE, COST = "unit.json", "progress.json", "failed.json", "cost.json"


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


class Cost(TypedDict, total=False):
    """`cost.json`: the most bytes of memory that its last process held; see `devices.peak_memory`."""

    peak_memory: int


def read_unit_note(folder: Path) -> UnitNote:
    """Return what the unit of a folder is, its key for a name where that is not known."""
    return cast(UnitNote, {"name": folder.name, **_read(folder / UNIT, UnitNote)})


def read_progress(folder: Path) -> Progress:
    """Return what the unit of a folder noted last while it ran; nothing where there is no step."""
    progress = _read(folder / PROGRESS, Progress)
    if "step" in progress and not (math.isfinite(progress["step"]) and 0 < progress.get("n_steps", 0) < math.inf):
        return {}
    return cast(Progress, progress)


def read_failure(folder: Path) -> Failure:
    """Return why the unit of a folder was given up."""
    return cast(Failure, _read(folder / FAILURE, Failure))


def read_cost(folder: Path) -> Cost:
    """Return what the unit of a folder took; nothing where it is not known."""
    return cast(Cost, _read(folder / COST, Cost))


def _read(path: Path, form: type) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(note, dict):
        return {}
    types = {name: (int, float) if kind is float else kind for name, kind in get_type_hints(form).items()}
    known = [(note[name], kind) for name, kind in types.items() if name in note]
    return note if all(isinstance(value, kind) and not isinstance(value, bool) for value, kind in known) else {}
