"""`scores.json`: what stacking says of each task, for the report, the terminal and whoever wants the best model.

A `Number` is None where it is not finite. Gains are positive where better, whatever way the metric points.
"""

from collections.abc import Iterable
from typing import Any, TypedDict, TypeVar

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import SCORES

Number = Any  # float | None: mypy does not follow `None not in (low, high)`


class Gain(TypedDict):
    """How much better than something else, with the paired 95 % interval."""

    value: Number
    low: Number
    high: Number
    standard_error: Number


class Score(TypedDict):
    """A score with its 95 % interval."""

    score: Number
    low: Number
    high: Number


class ModelScore(Score):
    """A member (`kind` encoder, stitched, baseline) or a `rung` of the ladder; `gain` over the best single model."""

    name: str
    kind: str
    standard_error: Number
    folds: list[list[Number]]
    mean: Number
    std: Number
    metrics: dict[str, Number]
    gain: Gain | None


class Estimate(Score):
    """The score of the whole procedure, and the interval in which that on the test rows is expected."""

    standard_error: Number
    metrics: dict[str, Number]
    test_low: Number
    test_high: Number


class StitchedScore(Score):
    """A stitched model; `gain` is over the best of its encoders (key `over`), `adds` what it adds to the other members."""

    name: str
    encoders: list[str]
    head: str
    parents: dict[str, Number]
    gain: Gain
    error_correlation: dict[str, Number]
    adds: Gain | None


class Stitching(TypedDict):
    """What stitched models are worth; `difference` by split: of the ensemble with them from the one without."""

    with_pairs: dict[str, Any] | None
    without_pairs: dict[str, Any] | None
    difference: dict[str, Gain | None] | None
    leave_one_out: str
    models: list[StitchedScore]


class LabelShift(TypedDict):
    """The probability that labels predicted of out-of-fold and of test rows differ so by chance; by label both shares."""

    p_value: float
    labels: dict[str, list[float]]


class TaskScores(TypedDict):
    """One task of scores.json; `confusion`, `calibration` and `hardest` are there where the task's kind has such."""

    metric: str
    higher_is_better: bool
    labels: list[str]
    n_train: int
    n_test: int
    models: list[ModelScore]
    best_single: str
    baseline: Number
    chosen: str
    estimate: Estimate
    decision: dict[str, Any] | None
    weights: dict[str, dict[str, float]]
    holdout: Score | None
    label_shift: LabelShift | None
    agreement: dict[str, Any]
    stitching: Stitching | None
    confusion: list[list[int]]
    calibration: list[dict[str, Any]]
    hardest: list[dict[str, Any]]


Scored = TypeVar("Scored", bound=Score)


def read_scores() -> dict[str, TaskScores]:
    """Return what stacking says of each task."""
    tasks: dict[str, TaskScores] = read_json(SCORES)["tasks"]
    return tasks


def sign_of(scores: TaskScores) -> int:
    """Return 1 where a higher score is better, else -1."""
    return 1 if scores["higher_is_better"] else -1


def gains_by_split(scores: TaskScores) -> dict[str, Gain]:
    """Return the gain of the ensemble by its stitched models, `oof` and `holdout`, where it is known."""
    differences = (scores["stitching"] and scores["stitching"]["difference"]) or {}
    return {split: gain for split in ("oof", "holdout") if (gain := differences.get(split))}


def best_first(records: Iterable[Scored], scores: TaskScores) -> list[Scored]:
    """Return records of a task by their score, equals in the order given, those without one last.

    >>> worse, none, better = ({"score": score} for score in (0.7, None, 0.2))
    >>> best_first([worse, none, better], {"higher_is_better": False}) == [better, worse, none]
    True
    """
    return sorted(records, key=lambda record: (record["score"] is None, -sign_of(scores) * (record["score"] or 0)))
