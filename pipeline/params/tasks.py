"""The sections `tasks` and `folds` of params.yaml."""

import os
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipeline.params.fields import PositiveInt, Ratio, Section, component
from pipeline.text.templates import is_template, parse

TEST_LIKE = "test_like"


class TextColumns(Section):
    """Which column of a file holds what: by name, or by position (from 0) in files without a header."""

    id: str | int | None = None
    """Row ids; None numbers the rows of each file."""
    first_id: Annotated[int, Field(ge=0)] = 0
    """The number of the first row where there are no ids."""
    text: str | int | Annotated[list[str | int], Field(min_length=1)] = "text"
    """The text: a column, a template over columns such as `"{title} [SEP] {body}"`, or several columns to join by a blank."""
    text_pair: str | int | None = None
    """The second text of a pair: a column or a template."""

    @property
    def fields(self) -> dict[str, list[str]]:
        """Return the columns that each of the texts is made of, as the numbers of their fields go.

        Raises:
            ValueError: if a template is none.
        """
        texts = {key: getattr(self, key) for key in ("text", "text_pair") if getattr(self, key) is not None}
        return {
            key: [field.column for field in parse(text)]
            if is_template(text)
            else ["" if isinstance(text, list) else str(text)]
            for key, text in texts.items()
        }


class Columns(TextColumns):
    """Which column of the training file holds what; those of the other files are the same."""

    label: str | int | list[str | int] = "label"
    """The label; several columns where a row has several targets."""
    group: str | int | None = None
    """Rows that share a value share a fold."""
    swap: bool = False
    """Whether the order of a pair says nothing: encoders and stitched heads learn both orders and predict their mean."""


# One byte that can stand between fields, or before a character that is to be an ordinary one.
Character = Annotated[str, Field(pattern=r"^[\x01-\x09\x0b\x0c\x0e-!#-~]$")]


class FileForm(Section):
    """How a file of rows is written, where its name does not say it."""

    format: Literal["csv", "tsv", "jsonl", "json", "parquet"] | None = None
    """The file format; None takes it from the file's name."""
    encoding: str = "utf-8"
    encoding_errors: Literal["fail", "replace", "drop_row"] = "fail"
    """Bytes that are no text in the encoding: an error, each replaced by U+FFFD, or their rows left out (not those of the
    test file, where they are replaced)."""
    header: bool = True
    quoting: bool = True
    """Whether csv and tsv fields may be quoted."""
    separator: Character | None = None
    """What stands between the fields of csv and tsv; None is a comma or a tab."""
    escape: Character | None = None
    """The character, such as a backslash, that makes a quote, separator, line end or itself an ordinary character."""
    torn_lines: Literal["fail", "join"] = "fail"
    """What a csv or tsv line with too few fields is: an error, or part of one that a line break tore, to be joined to it."""


def setting(key: str, name: str, value: str | None = None) -> str:
    """Return how messages name an option of `FileForm`, and set it; the key `--` is that of a command line.

    >>> setting("tasks.main", "encoding_errors", "replace"), setting("--", "encoding_errors", "replace")
    ('tasks.main.encoding_errors: replace', '--encoding-errors replace')
    >>> setting("--", "quoting", "false"), setting("tasks.main", "encoding")
    ('--no-quoting', 'tasks.main.encoding')
    """
    if key != "--":
        return f"{key}.{name}" if value is None else f"{key}.{name}: {value}"
    option = name.replace("_", "-")
    return f"--no-{option}" if value == "false" else f"--{option} {value or ''}".rstrip()


class Submission(Section):
    """The file that the competition accepts."""

    format: component("formats") = "kaggle_csv"  # type: ignore[valid-type]
    sample: str | dict[str, str] | None = None
    """The organiser's sample submission: ids, order and columns are taken from it; where there are several test files one
    for each, by their names, or one for all."""
    sample_form: FileForm = Field(default_factory=FileForm)
    """How the sample is written: the keys of a task that say so, `format` to `escape`."""
    scored_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the test file's rows that the board scores: the fewer, the wider is what is expected there."""

    def sample_of(self, file: str) -> str | None:
        """Return the sample of the submission of one of the test files, by its name, if there is one."""
        return self.sample.get(file) if isinstance(self.sample, dict) else self.sample


class Task(FileForm):
    """One task: its files, its columns and how it is scored."""

    kind: component("task_kinds")  # type: ignore[valid-type]
    metric: component("metrics")  # type: ignore[valid-type]
    report_metrics: list[component("metrics")] = Field(default=[])  # type: ignore[valid-type]
    """Further metrics to report beside the one that decides."""
    submit: bool = True
    """Whether the task has a submission; without, it is auxiliary: models learn from it, and its score counts for nothing."""
    train: str
    test: str | dict[str, str] | None = None
    """The test file, or several by their names, each with a submission of its own; only auxiliary tasks may have none."""
    unlabelled: str | None = None
    """More texts of the same form without labels, for objectives that learn from them."""
    columns: Columns = Field(default_factory=Columns)
    test_columns: TextColumns = Field(default_factory=TextColumns)
    """What is otherwise in the test file: ids that only it has, columns that it names in another way, other numbers."""
    labels: list[str] | None = Field(default=None, min_length=2)
    """The labels in fixed order; None sorts those of the training file."""
    rename_labels: dict[str, str] = Field(default={})
    """Spellings of the training file -> the label that is meant, such as `{"pos ": pos, Pos: pos}`."""
    missing_labels: Literal["fail", "drop", "unlabelled"] = "fail"
    """Training rows with an empty label: an error, left out, or kept as texts without a label."""
    submission: Submission = Field(default_factory=Submission)

    @model_validator(mode="after")
    def _check_tests(self) -> Self:
        files, sample, text = list(map(os.path.normpath, self.tests.values())), self.submission.sample, None
        if self.submit and not files:
            text = "must have a test file, got none. Name it in test, or set submit: false"
        elif len(set(files)) < len(files):
            twice = next(file for file in files if files.count(file) > 1)
            text = f"test must name each file once, got {twice} twice. Remove one"
        elif isinstance(sample, dict) and not set(sample) <= set(self.tests):
            known = list(self.tests) if isinstance(self.test, dict) else "one file without a name"
            text = f"submission.sample must have names of test, {known}, got {list(sample)}. Name them alike"
        if text is not None:
            raise PydanticCustomError("contradiction", "{text}", {"text": text})
        return self

    @property
    def tests(self) -> dict[str, str]:
        """The test files by their names; that of one that params do not name is empty."""
        return {"": self.test} if isinstance(self.test, str) else self.test or {}

    @property
    def columns_of_test(self) -> Columns:
        """The columns of the test file: of `test_columns` what it sets, the others as in the training file."""
        return self.columns.model_copy(update=self.test_columns.model_dump(exclude_unset=True))


class Folds(Section):
    """How training rows are split. Rows that share a group or are near-duplicates always share a fold."""

    n_splits: Annotated[int, Field(ge=2)] = 5
    n_repeats: PositiveInt = 1
    stratify: bool = True
    group_pairs: bool | Annotated[int, Field(ge=2)] = False
    """For pairs of texts: rows that share a sentence share a fold; a number: unless the sentence stands more often."""
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] | None
    """Jaccard similarity of character shingles from which texts are near-duplicates; None looks for exact ones only."""
    holdout_ratio: Ratio = 0.0
    """Share of the training rows that no model and no choice ever sees: an untouched check of the estimate."""
    score_where: str | int | None = None
    """Score only some training rows and train on the others in every fold: `test_like`, those whose texts are like the test
    file's, or a column of the training file (true or false), those that it marks; None scores all."""
