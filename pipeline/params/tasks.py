"""The sections `tasks` and `folds` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.fields import PositiveInt, Ratio, Section, component

TEST_LIKE = "test_like"


class Columns(Section):
    """Which column holds what: by name, or by position (from 0) in files without a header."""

    id: str | int | None = None
    """Row ids; None numbers the rows of each file from 0."""
    text: str | int | list[str | int] = "text"
    """The text; several columns are joined by a blank."""
    text_pair: str | int | None = None
    """The second text of a pair."""
    label: str | int | list[str | int] = "label"
    """The label; several columns where a row has several targets."""
    group: str | int | None = None
    """Rows that share a value share a fold."""


class Submission(Section):
    """The file that the competition accepts."""

    format: component("formats") = "kaggle_csv"  # type: ignore[valid-type]
    sample: str | None = None
    """The organiser's sample submission: ids, order and columns are taken from it."""
    scored_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the test file's rows that the board scores: the fewer, the wider is what is expected there."""


class Task(Section):
    """One task: its files, its columns and how it is scored."""

    kind: component("task_kinds")  # type: ignore[valid-type]
    metric: component("metrics")  # type: ignore[valid-type]
    report_metrics: list[component("metrics")] = Field(default=[])  # type: ignore[valid-type]
    """Further metrics to report beside the one that decides."""
    train: str
    test: str
    unlabelled: str | None = None
    """More texts of the same form without labels, for objectives that learn from them."""
    format: Literal["csv", "tsv", "jsonl", "json", "parquet"] | None = None
    """The file format; None takes it from the file's name."""
    encoding: str = "utf-8"
    header: bool = True
    quoting: bool = True
    """Whether csv and tsv fields may be quoted."""
    columns: Columns = Columns()
    labels: list[str] | None = Field(default=None, min_length=2)
    """The labels in fixed order; None sorts those of the training file."""
    rename_labels: dict[str, str] = Field(default={})
    """Spellings of the training file -> the label that is meant, such as `{"pos ": pos, Pos: pos}`."""
    missing_labels: Literal["fail", "drop", "unlabelled"] = "fail"
    """Training rows with an empty label: an error, left out, or kept as texts without a label."""
    submission: Submission = Submission()


class Folds(Section):
    """How training rows are split. Rows that share a group or are near-duplicates always share a fold."""

    n_splits: Annotated[int, Field(ge=2)] = 5
    n_repeats: PositiveInt = 1
    stratify: bool = True
    group_pairs: bool = False
    """For pairs of texts: rows that share a sentence share a fold."""
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] | None
    """Jaccard similarity of character shingles from which texts are near-duplicates; None looks for exact ones only."""
    holdout_ratio: Ratio = 0.0
    """Share of the training rows that no model and no choice ever sees: an untouched check of the estimate."""
    score_where: str | int | None = None
    """Score only some training rows and train on the others in every fold: `test_like`, those whose texts are like the test
    file's, or a column of the training file (true or false), those that it marks; None scores all."""
