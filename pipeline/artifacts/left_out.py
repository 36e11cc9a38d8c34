"""`left_out.json`: what a stage left out because its time budget was spent, in the place of predictions."""

from collections.abc import Iterable
from typing import TypedDict

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import left_out_path


class LeftOut(TypedDict):
    """An encoder, or a stitched pair or triple, without predictions, and what of it lies in the unit store.

    `hours_needed` is the budget in which it would about have come to its end; where no step told how long it takes, so that
    this is not known, the least in which it would have begun.
    """

    model: str
    kept: str
    budget_hours: float
    hours_needed: float
    is_known: bool


def read_left_out(encoders: Iterable[str], *, stitched: bool = True) -> list[LeftOut]:
    """Return which of the encoders, and of what is `stitched` from them, were left out."""
    paths = [left_out_path("finetune", encoder) for encoder in encoders]
    paths += [left_out_path("stitch")] if stitched else []
    return [note for path in paths if path.exists() for note in read_json(path)]


def left_out_text(note: LeftOut) -> str:
    """Return in a sentence what was left out, and the budget in which it would not have been.

    >>> left_out_text({"model": "a", "kept": "2 of 4 ended", "budget_hours": 0.5, "hours_needed": 0.841, "is_known": True})
    'a, and what is stitched from it, was left out (2 of 4 ended): run.budget_hours is 0.5, it takes about 0.841.'
    """
    given, needed = (f"{hours:.3g}" for hours in (note["budget_hours"], note["hours_needed"]))
    takes = f"about {needed}" if note["is_known"] else f"more than {needed}, its first steps will tell how much"
    who = f"{note['model']}, and what is stitched from it, was left out ({note['kept']})"
    return f"{who}: run.budget_hours is {given}, it takes {takes}."
