"""The submission before there is a prediction: what would be refused after a night of training is refused now."""

import tempfile
from pathlib import Path

import numpy as np

from pipeline.artifacts.table import Table
from pipeline.errors.exceptions import DataError
from pipeline.params.root import Params
from pipeline.submit.format import Format
from pipeline.submit.submissions import Samples, samples_of
from pipeline.submit.submitting import common_format, submission_frame


def rehearse(params: Params, table: Table) -> None:
    """Write and check, aside, submissions of made-up predictions of every label: what is refused shows before training.

    The test files are rehearsed one by one, each with its samples.

    Raises:
        DataError: if a sample has other ids, labels or columns than the submission would, or the file could not be accepted.
        ParamsError: if the tasks do not fit into one submission.
    """
    form = common_format(params)
    for file in params.test_files:
        ids = {name: table.test_files(name)[file]["id_in_file"].tolist() for name in params.submitted}
        _rehearse_file(form, table, ids, samples_of(params, file))


def _rehearse_file(form: Format, table: Table, ids: dict[str, list[str]], samples: Samples) -> None:
    tests = {name: (row_ids, table.labels[name], table.kind(name)) for name, row_ids in ids.items()}
    # A test file of fewer rows than there are labels is filled several times, so that each label is written once.
    for number in range(max(-(-len(labels) // len(row_ids)) for row_ids, labels, _ in tests.values())):
        frames = {}
        for name, (row_ids, labels, kind) in tests.items():
            decided = (number * len(row_ids) + np.arange(len(row_ids))) % len(labels)
            made_up = (np.eye(len(labels))[decided] + 1 / len(labels)) / 2
            frames[name] = submission_frame(row_ids, made_up, labels, kind=kind)
        with tempfile.TemporaryDirectory() as aside:
            path = form.write(frames, samples, Path(aside))
            try:
                form.check(path, frames, samples)
            except DataError as error:
                raise error.within("submission, rehearsed before training") from error
