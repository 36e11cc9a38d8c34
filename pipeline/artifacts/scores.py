"""`scores.json`: what stacking says of each task, for the report, the terminal and whoever wants the best model.

A `Number` is None where it is not finite. A `gain` is positive where better, whatever way the metric points.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NotRequired, TypedDict, TypeVar

from pipeline.artifacts.files import read_json
from pipeline.artifacts.left_out import LeftOut
from pipeline.artifacts.paths import SCORES

Number = Any  # float | None: mypy does not follow `None not in (low, high)`


class Gain(TypedDict):
    """A difference from something else, with the paired 95 % interval."""

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
    """A member (`kind` encoder, stitched, baseline) or a `rung` of the ladder, out-of-fold: by one fold model per row.

    `averaging` is what the mean of all fold models is expected to add to the score on test rows (of a loss, below zero is
    better), `expected` the score there; `gain` is over the best single model, both averaged.
    """

    name: str
    kind: str
    standard_error: Number
    folds: list[list[Number]]
    mean: Number
    std: Number
    metrics: dict[str, Number]
    averaging: Number
    expected: Number
    gain: Gain | None


class Estimate(Score):
    """The out-of-fold score of the whole procedure, and that `expected` on the test rows with its interval.

    Between the two lie `averaging`, and `twins`: what test rows add that say the same as training rows. Where test rows are
    of another kind, rows count by how like them they are, and `unweighted` has the other three as they would be else.
    """

    standard_error: Number
    metrics: dict[str, Number]
    averaging: Number
    twins: Number
    expected: Number
    test_low: Number
    test_high: Number
    unweighted: dict[str, Number] | None


class HoldoutScore(Score):
    """The score of the untouched hold-out, and what averaging its fold models adds, as in `ModelScore`."""

    rows: int
    averaging: Gain


class StitchedScore(Score):
    """A stitched model; `gain` is over the best of its encoders (key `over`), as expected on the test rows.

    `adds` is what it adds to the other members, out-of-fold.
    """

    name: str
    encoders: list[str]
    head: str
    parents: dict[str, Number]
    gain: Gain
    error_correlation: dict[str, Number]
    adds: Gain | None


class Stitching(TypedDict):
    """What stitched models are worth; `difference`: of the ensemble with them from the one without, by split.

    That on `test` rows is expected from the out-of-fold scores, that on the `holdout` is measured.
    """

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
    """One task of scores.json; what follows `stitching` is there where the task's kind has such (`TaskKind.describe`).

    Of the `n_test` rows of the test file the board scores about `n_scored`: `tasks.<task>.submission.scored_ratio`; `twins`
    of them say the same as a training row. Of several test files `n_test` counts all rows, `n_scored` those of the smallest:
    each is scored by itself. An `auxiliary` task has no submission, and need not have test rows. Where test rows are of
    another kind, the weighted training rows are worth `effective_rows` ones without weights. `gain` is that of
    the ensemble over the best single model, chosen for every fold on the other folds, as it is expected on the test rows.
    """

    metric: str
    higher_is_better: bool
    labels: list[str]
    n_train: int
    n_test: int
    n_scored: int
    models: list[ModelScore]
    best_single: str
    baseline: Number
    chosen: str
    estimate: Estimate
    effective_rows: Number
    gain: Gain | None
    twins: int
    decision: dict[str, Any] | None
    weights: dict[str, dict[str, float]]
    holdout: HoldoutScore | None
    label_shift: LabelShift | None
    agreement: dict[str, Any]
    stitching: Stitching | None
    confusion: list[list[int]]
    calibration: list[dict[str, Any]]
    hardest: list[dict[str, Any]]
    scatter: list[dict[str, Any]]  # `name` of a target, `true` and `predicted` numbers of some rows
    tables: list[dict[str, Any]]  # `title, columns, rows, note`; a row is its name and numbers
    auxiliary: NotRequired[bool]
    notes: list[str]  # what a reader should know of the decisions


Scored = TypeVar("Scored", bound=Score)


def read_scores() -> dict[str, TaskScores]:
    """Return what stacking says of each task."""
    tasks: dict[str, TaskScores] = read_json(SCORES)["tasks"]
    return tasks


def read_left_out_of_scores() -> list[LeftOut]:
    """Return what a time budget left out of the scores: it is missing, not bad."""
    left_out: list[LeftOut] = read_json(SCORES).get("left_out", [])
    return left_out


def submitted(tasks: Mapping[str, TaskScores]) -> dict[str, TaskScores]:
    """Return the tasks whose scores count: all but auxiliary ones."""
    return {name: scores for name, scores in tasks.items() if not scores.get("auxiliary")}


def sign_of(scores: TaskScores) -> int:
    """Return 1 where a higher score is better, else -1."""
    return 1 if scores["higher_is_better"] else -1


def gains_by_split(scores: TaskScores) -> dict[str, Gain]:
    """Return the gain of the ensemble by its stitched models, on `test` rows and on the `holdout`, where it is known."""
    differences = (scores["stitching"] and scores["stitching"]["difference"]) or {}
    return {split: gain for split in ("test", "holdout") if (gain := differences.get(split))}


def best_first(records: Iterable[Scored], scores: TaskScores) -> list[Scored]:
    """Return records of a task by their score, equals in the order given, those without one last.

    >>> worse, none, better = ({"score": score} for score in (0.7, None, 0.2))
    >>> best_first([worse, none, better], {"higher_is_better": False}) == [better, worse, none]
    True
    """
    return sorted(records, key=lambda record: (record["score"] is None, -sign_of(scores) * (record["score"] or 0)))
