"""What a sample holds in the place of labels and probabilities is compared with what will be submitted."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.data.class_targets import ClassTargets
from pipeline.errors.exceptions import DataError
from pipeline.params.tasks import FileForm
from pipeline.submit.format import Format, Sample, read_sample
from pipeline.submit.formats import kaggle_csv, tianchi_json
from pipeline.submit.submitting import submission_frame


def frame_of(labels: list[str]) -> pd.DataFrame:
    probabilities = np.full((3, len(labels)), 1 / len(labels))
    return submission_frame(["a", "b", "c"], probabilities, labels, kind=ClassTargets())


def sample_of(folder: Path, values: list[str], *, form: str = "csv") -> Sample:
    path = folder / f"sample.{form}"
    rows = list(zip("abc", (values * 3)[:3], strict=True))
    if form == "csv":
        path.write_text("id,label\n" + "".join(f"{row_id},{value}\n" for row_id, value in rows))
    else:
        path.write_text("".join(json.dumps({"id": row_id, "label": value}) + "\n" for row_id, value in rows))
    return read_sample(path, FileForm(), key="tasks.main.submission.sample_form")


@pytest.mark.parametrize(
    ("labels", "values", "message"),
    [
        (["false", "true"], ["False"], 'in another form. Set tasks.main.rename_labels: {"false": "False", "true": "True"} ('),
        (["neg", "pos"], ["NEG", "POS"], 'rename_labels: {"neg": "NEG", "pos": "POS"}'),
        (["0.0", "1.0", "10.0"], ["0", "10"], 'rename_labels: {"0.0": "0", "1.0": "1", "10.0": "10"}'),
        (["0", "1"], ["0.0"], 'rename_labels: {"0": "0.0", "1": "1.0"}'),
        (["neg", "pos", "?"], ["neg", "Pos"], 'tasks.main.rename_labels: {"pos": "Pos"}'),
        (["no", "yes"], ["0", "1"], "of task main, ['no', 'yes'], got ['0', '1'], none of them. Which label is which?"),
        (["no", "yes"], ["0"], "got ['0'], none of them"),
        (["0", "1"], ["0", "1", "2"], "got ['2'] beside others. No model predicts what no training row has"),
        (["0", "1"], ["0.5"], "got ['0.5']. Does the competition want `values: probabilities`?"),
    ],
)  # fmt: skip
def test_D16_D18_I14_a_sample_of_other_values_than_labels_asks(
    labels: list[str], values: list[str], message: str, tmp_path: Path
) -> None:
    """A sample with `False` where labels are `true`, or 0 and 1 where they are yes and no, is asked about before training."""
    sample, frames = sample_of(tmp_path, values), {"main": frame_of(labels)}
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        kaggle_csv.build().write(frames, {"main": sample}, tmp_path)
    assert caught.value.code == "E305" and "placeholders to tasks.main.submission.format" in str(caught.value)
    form = kaggle_csv.build(sample_values="placeholders")
    form.check(form.write(frames, {"main": sample}, tmp_path), frames, {"main": sample})


@pytest.mark.parametrize("form", [kaggle_csv.build(), tianchi_json.build()])
@pytest.mark.parametrize("values", [["yes"], ["yes", "no"], [""], [" ", "no"]])
def test_labels_and_blanks_of_a_sample_are_taken(values: list[str], form: Format, tmp_path: Path) -> None:
    sample = sample_of(tmp_path, values, form="csv" if isinstance(form, kaggle_csv.KaggleCsv) else "json")
    form.write({"main": frame_of(["no", "yes"])}, {"main": sample}, tmp_path)


def test_D16_I14_the_sample_of_another_format_asks_too(tmp_path: Path) -> None:
    """Samples of JSON lines are compared with the labels as those of csv are."""
    samples = {"main": sample_of(tmp_path, ["LABEL_0"], form="json")}
    with pytest.raises(DataError, match=r"got \['LABEL_0'\], none of them"):
        tianchi_json.build().write({"main": frame_of(["0", "1"])}, samples, tmp_path)
    tianchi_json.build(sample_values="placeholders").write({"main": frame_of(["0", "1"])}, samples, tmp_path)


@pytest.mark.parametrize(
    ("values", "wrong"), [(["0", "yes"], "yes"), (["50"], "50"), (["nan"], "nan"), (["0.5", "1"], None)]
)
def test_D16_I14_a_sample_of_other_values_than_probabilities_asks(
    values: list[str], wrong: str | None, tmp_path: Path
) -> None:
    """A sample with labels or percentages where probabilities will be submitted is asked about before training."""
    frames, samples = {"main": frame_of(["no", "yes"])}, {"main": sample_of(tmp_path, values)}
    form = kaggle_csv.build(values="probabilities")
    if wrong is None:
        form.write(frames, samples, tmp_path)
        return
    with pytest.raises(
        DataError, match=rf"must be probabilities of task main, got \['{wrong}'\]\. Does the competition want"
    ):
        form.write(frames, samples, tmp_path)
    kaggle_csv.build(values="probabilities", sample_values="placeholders").write(frames, samples, tmp_path)
