"""`left_out.json`: what a stage left out because its time budget was spent, in the place of predictions."""

from collections.abc import Iterable
from typing import TypedDict

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import left_out_path


class LeftOut(TypedDict):
    """An encoder, or a stitched pair or triple, without predictions, and what of it lies in the unit store.

    `hours_needed` is the budget in which it would about have come to its end, None where no step told how long it takes.
    """

    model: str
    kept: str
    budget_hours: float
    hours_needed: float | None


def read_left_out(encoders: Iterable[str], *, stitched: bool = True) -> list[LeftOut]:
    """Return which of the encoders, and of what is `stitched` from them, were left out."""
    paths = [left_out_path("finetune", encoder) for encoder in encoders]
    paths += [left_out_path("stitch")] if stitched else []
    return [note for path in paths if path.exists() for note in read_json(path)]


def left_out_text(note: LeftOut) -> str:
    """Return in a sentence what was left out, and the budget in which it would not have been.

    >>> left_out_text({"model": "bert", "kept": "2 of 4 ended", "budget_hours": 0.5, "hours_needed": 0.8412})
    'bert was left out (2 of 4 ended): run.budget_hours: 0.5 does not suffice for it, about 0.84 would'
    """
    needed = note["hours_needed"]
    known = "how much would is not known before its first steps (stitchfold check --dry-steps 20 takes some)"
    enough = known if needed is None else f"about {needed:.2g} would"
    given = f"run.budget_hours: {note['budget_hours']:g} does not suffice for it"
    return f"{note['model']} was left out ({note['kept']}): {given}, {enough}"
