"""From one model's test predictions to the file that the competition accepts; nothing is published unchecked.

The checks that every format shares stand here: they compare what a file says with the sample submission and with the
test file, because the organisers' own files may disagree.
"""

import logging
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.artifacts.files import verify, write_bytes
from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import Table
from pipeline.contracts import DECIDED, PROBABILITY, VALUE, TaskKind
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.errors.failpoints import failpoint
from pipeline.params.root import Params
from pipeline.submit.format import Format, Sample, has_numbers

logger = logging.getLogger(__name__)
N_EXAMPLES = 3


def common_format(params: Params) -> Format:
    """Build the one format of all tasks that are submitted.

    Raises:
        ParamsError: if two tasks name different formats or options, which would be two submissions.
    """
    formats = {name: task.submission.format for name, task in params.submitted.items()}
    first, chosen = next(iter(formats.items()))
    for name, component in formats.items():
        if component != chosen:
            raise ParamsError(
                f"tasks.{name}.submission.format: must be that of task {first!r} "
                f"({chosen.name} {chosen.options}), got {component.name} {component.options}. "
                "Name the same format and options in all tasks.",
                code="E203",
            )
    form: Format = chosen.build()
    return form


def frames_of_tests(predictions: Predictions, table: Table) -> dict[str, pd.DataFrame]:
    """Return the submission frames of a model's test rows, each in the order of its file, by the files' names.

    Raises:
        DataError: if the model knows other labels than the table, or a test row has no prediction.
    """
    task, labels = predictions.task, predictions.labels
    kind = table.kind(task)
    if labels != (wanted := kind.outputs(table.labels[task])):
        must = f"must have the labels {wanted} of task {task}, got {labels}. Run dvc repro."
        raise DataError(f"predictions of {predictions.model}: {must}", code="E309")
    frames = {}
    for file, rows in table.test_files(task).items():
        probabilities = probabilities_of(predictions, "test", rows["row_id"].tolist(), kind=kind)
        ids = rows["id_in_file"].tolist()
        frames[file] = submission_frame(ids, probabilities, table.labels[task], kind=kind)
    return frames


def submission_frame(
    row_ids: Sequence[str], probabilities: np.ndarray, labels: Sequence[str], *, kind: TaskKind
) -> pd.DataFrame:
    """Return `row_id` and what the task's kind shows: `label` and, where there are such, a `probability:<label>` per label.

    The N test rows stand in the order of the test file; the columns of their probabilities (N, C) are the labels.
    """
    answers = kind.answers(probabilities, labels)
    answers.insert(0, "row_id", list(row_ids))
    return answers


def labels_of(frame: pd.DataFrame) -> list[str]:
    """Return the labels of a submission frame in order."""
    prefix = VALUE if has_numbers(frame) else PROBABILITY
    return [name.removeprefix(prefix) for name in frame.columns if name.startswith(prefix)]


def has_several(frame: pd.DataFrame) -> bool:
    """Return whether a row of a submission frame may have several labels."""
    return any(name.startswith(DECIDED) for name in frame.columns)


def publish(
    form: Format, predictions: dict[str, pd.DataFrame], samples: dict[str, Sample | None], folder: Path
) -> tuple[Path, str]:
    """Write a submission aside, check what lies on disk, then give it its name; return its path and sha256.

    Raises:
        DataError: if the competition would refuse the file; the folder then holds no submission.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unchecked-") as aside:
        written = form.write(predictions, samples, Path(aside))
        failpoint("submit")
        path = folder / written.name
        # A submission of an earlier run must not look like the result of this one.
        for stale in (path, path.with_name(path.name + ".sha256")):
            stale.unlink(missing_ok=True)
        failpoint("unpublished")
        form.check(written, predictions, samples)
        failpoint("checked")
        write_bytes(path, written.read_bytes())
    failpoint("submitted")
    return path, verify(path)


def ordered_ids(
    test_ids: Sequence[str], sample_ids: Sequence[str] | None, *, task: str, sample: Path | None
) -> list[str]:
    """Return the ids in the order the competition wants: the sample's, or without one the test file's.

    >>> ordered_ids(["a", "b"], ["b", "a"], task="main", sample=Path("sample.csv"))
    ['b', 'a']

    Raises:
        DataError: if an id stands twice, or the sample and the test file have different ids.
    """
    _refuse_repeated(test_ids, f"test file of task {task}", code="E302")
    if sample_ids is None:
        return list(test_ids)
    only_sample, only_test = _missing(sample_ids, test_ids), _missing(test_ids, sample_ids)
    if only_sample or only_test:
        raise DataError(
            f"{sample}: must have the ids of the test file of task {task} ({len(test_ids)} rows), "
            f"got {len(sample_ids)} rows; only in the sample: {_examples(only_sample)}; "
            f"only in the test file: {_examples(only_test)}. "
            f"{_likely_wrong(sample_ids, test_ids, only_sample, only_test, task=task)} Download both again, and correct "
            "columns.id or the file that is wrong.",
            code="E306",
        )
    _refuse_repeated(sample_ids, str(sample), code="E306")
    return list(sample_ids)


def refused(where: str, text: str, remedy: str = "Run dvc repro submit.") -> DataError:
    """Return the error of a file that the competition would refuse, or that does not say what was predicted."""
    return DataError(f"{where}: {text}. {remedy}", code="E310")


def check_ids(ids: Sequence[str], expected: Sequence[str], *, where: str) -> None:
    """Check the ids of a submission against those wanted.

    Raises:
        DataError: if one is repeated, missing, unknown or out of order.
    """
    _refuse_repeated(ids, where, code="E310")
    missing, unknown = _missing(expected, ids), _missing(ids, expected)
    if missing or unknown:
        lacks = f"missing: {_examples(missing)}; unknown: {_examples(unknown)}"
        raise refused(where, f"must have the {len(expected)} wanted ids, got {len(ids)} rows; {lacks}")
    for row, (got, wanted) in enumerate(zip(ids, expected, strict=True), start=1):
        if got != wanted:
            raise refused(where, f"row {row} must have id {wanted!r}, got {got!r}", "Keep the wanted order.")


def check_labels(labels: Sequence[str], expected: Sequence[str], allowed: Sequence[str] | None, *, where: str) -> None:
    """Check the labels of a submission, one per row or, where none but the expected are `allowed`, their names together.

    A constant one only warns.

    Raises:
        DataError: if one is empty, not in the label list, or not what was predicted.
    """
    known = None if allowed is None else dict.fromkeys(allowed)
    for row, (got, wanted) in enumerate(zip(labels, expected, strict=True), start=1):
        if known is not None and got not in known:
            raise refused(where, f"row {row} must have a label of {list(known)}, got {got!r}", "Write names.")
        if got != wanted:
            raise refused(where, f"row {row} was predicted as {wanted!r}, got {got!r}")
    if len(labels) > 1 and len(set(labels)) == 1:
        text = "%s: all %d rows have the label %r. Look at the scores before you upload it."
        logger.warning(text, where, len(labels), labels[0])


def decode_strictly(content: bytes, *, where: str) -> str:
    """Return the text of a submission file.

    >>> decode_strictly(b"id,label\\n", where="x.csv")
    'id,label\\n'

    Raises:
        DataError: if it is empty, not UTF-8, has a byte-order mark or carriage returns, or is cut off.
    """
    if not content.strip():
        raise refused(where, "must hold rows, got an empty file")
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise refused(where, f"must be UTF-8 without a byte-order mark, got {content[:4].hex(' ')}", "Save it so.")
    if b"\r" in content:
        line = content[: content.index(b"\r")].count(b"\n") + 1
        raise refused(where, f"lines must end with \\n, got a carriage return in line {line}", "Use Unix line ends.")
    if not content.endswith(b"\n"):
        raise refused(where, f"must end with a line end, got {content[-20:]!r} (cut off?)")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        text = f"must be UTF-8, got another encoding at byte {error.start}"
        raise refused(where, text, "Save it as UTF-8.") from error


def _missing(wanted: Sequence[str], among: Sequence[str]) -> list[str]:
    known = set(among)
    return [row_id for row_id in wanted if row_id not in known]


def _likely_wrong(
    sample_ids: Sequence[str],
    test_ids: Sequence[str],
    only_sample: Sequence[str],
    only_test: Sequence[str],
    *,
    task: str,
) -> str:
    """Say which of two files with different ids is likely wrong, or how they number rows."""
    in_sample, in_test = _counted_from(sample_ids), _counted_from(test_ids)
    if in_sample is not None and in_test is not None and in_sample != in_test:
        remedy = f"If the test file has no ids, set tasks.{task}.test_columns: {{first_id: {in_sample}}}."
        return f"The sample counts from {in_sample}, the test rows are counted from {in_test}. {remedy}"
    if only_sample and only_test:
        ids = (
            f"If a column of the test file has the sample's ids, set tasks.{task}.test_columns: {{id: <that column>}}. "
        )
        return f"{ids * (in_test == 0)}Perhaps they number rows in different ways, or belong to different competitions."
    return "The test file lacks rows, or the sample is newer." if only_sample else "The sample lacks rows or is older."


def _counted_from(ids: Sequence[str]) -> int | None:
    """Return the number from which ids count one by one, or None.

    >>> _counted_from(["1", "2", "3"]), _counted_from(["1", "3"]), _counted_from(["01", "02"])
    (1, None, None)
    """
    first = int(ids[0]) if ids and re.fullmatch("[0-9]{1,18}", ids[0]) else None
    return first if first is not None and list(ids) == [str(first + n) for n in range(len(ids))] else None


def _refuse_repeated(ids: Sequence[str], where: str, *, code: str) -> None:
    if twice := [row_id for row_id, count in Counter(ids).items() if count > 1]:
        text = f"{where}: each id must stand once, got several times: {_examples(twice)}. Remove the copies."
        raise DataError(text, code=code)


def _examples(ids: Sequence[str]) -> str:
    shown = ", ".join(repr(row_id) for row_id in ids[:N_EXAMPLES])
    return "none" if not ids else f"{len(ids)} ({shown}{', …' if len(ids) > N_EXAMPLES else ''})"
