"""The submissions, one for each test file: written, checked once more from disk, and recorded."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.artifacts.files import verify
from pipeline.artifacts.paths import FOLDS, SUBMISSION, predictions_path
from pipeline.artifacts.predictions import Predictions, read_predictions
from pipeline.artifacts.submissions import Submission, read_submissions, write_submissions
from pipeline.artifacts.table import Table, read_table
from pipeline.contracts import DECIDED
from pipeline.errors.exceptions import DataError
from pipeline.params.root import Params
from pipeline.submit.format import Sample, has_numbers, read_sample
from pipeline.submit.submitting import common_format, frames_of_tests, has_several, labels_of, publish

Samples = dict[str, Sample | None]  # by task


def chosen_predictions(params: Params, manifest: str) -> dict[str, Predictions]:
    """Return, per task that is submitted, the predictions of the model that params choose."""
    model = params.submit.model
    stage = "stack" if model == "ensemble" else params.stages[model]
    paths = {name: predictions_path(stage, model, name) for name in params.submitted}
    return {name: read_predictions(path, manifest=manifest) for name, path in paths.items()}


def samples_of(params: Params, file: str) -> Samples:
    """Return the sample submissions of one test file, by its name, of each task that is submitted."""
    samples: Samples = dict.fromkeys(params.submitted)
    for name, task in params.submitted.items():
        if (sample := task.submission.sample_of(file)) is not None:
            key = f"tasks.{name}.submission.sample_form"
            samples[name] = read_sample(Path(sample), task.submission.sample_form, key=key)
    return samples


def publish_all(
    params: Params, table: Table, predictions: Mapping[str, Predictions], *, model: str, folder: Path
) -> None:
    """Write into a folder, or into one in it for each test file that has a name, the checked submissions; record them.

    `predictions` are those of each task that is submitted, `model` names what made them.

    Raises:
        DataError: if the competition would refuse one.
    """
    form, records = common_format(params), {}
    by_task = {task: frames_of_tests(of_task, table) for task, of_task in predictions.items()}
    manifest = next(iter(predictions.values())).manifest
    for file in params.test_files:
        frames = {task: frames[file] for task, frames in by_task.items()}
        path, digest = publish(form, frames, samples_of(params, file), folder / file)
        records[file] = summary(model, frames, manifest, path, digest)
    write_submissions(records, folder)


def validate_submissions(params: Params) -> list[Path]:
    """Check the published submissions once more, from disk, and return their paths.

    Raises:
        DataError: if one is damaged, or the competition would refuse it.
    """
    table, paths = read_table(), {file: Path(record["path"]) for file, record in read_submissions().items()}
    if list(paths) != params.test_files:
        text = f"must be of the test files that params name, {params.test_files}, got {list(paths)}. Run dvc repro."
        raise DataError(f"{SUBMISSION}: {text}", code="E309")
    predictions = chosen_predictions(params, verify(FOLDS))
    by_task = {task: frames_of_tests(of_task, table) for task, of_task in predictions.items()}
    for file, path in paths.items():
        verify(path)
        frames = {task: frames[file] for task, frames in by_task.items()}
        common_format(params).check(path, frames, samples_of(params, file))
    return list(paths.values())


def summary(model: str, predictions: dict[str, pd.DataFrame], manifest: str, path: Path, digest: str) -> Submission:
    """Return what was submitted: file, model, and per task the rows and how often each label stands."""
    tasks = {task: {"rows": len(frame), "labels": _label_counts(frame)} for task, frame in predictions.items()}
    return {"path": path.as_posix(), "sha256": digest, "model": model, "manifest": manifest, "tasks": tasks}


def _label_counts(frame: pd.DataFrame) -> dict[str, int]:
    counts, several = Counter(frame["label"]), has_several(frame)
    return {
        label: int((frame[DECIDED + label] == "1").sum()) if several else counts[label]
        for label in ([] if has_numbers(frame) else labels_of(frame))
    }
