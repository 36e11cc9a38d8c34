"""From stored predictions to a published submission: joined by row id, checked, and never half-written."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import SUBMIT, predictions_path
from pipeline.artifacts.predictions import PREDICTION_COLUMNS, Predictions, write_predictions
from pipeline.artifacts.table import FOLDS_COLUMNS, TABLE_COLUMNS, read_folds, write_folds, write_table
from pipeline.data.class_targets import ClassTargets
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.loading import load_params
from pipeline.params.tasks import FileForm
from pipeline.submit.format import Sample, read_sample
from pipeline.submit.formats import kaggle_csv
from pipeline.submit.submitting import (
    common_format,
    frame_of_tests,
    ordered_ids,
    publish,
    submission_frame,
    summary,
)
from stages import submit
from tests.competition import write_params
from tests.small import make_table

LABELS = ["no", "yes"]
FRAMES = {"main": submission_frame(["b", "a"], np.array([[0.9, 0.1], [0.2, 0.8]]), LABELS, kind=ClassTargets())}
TABLE = make_table(
    pd.DataFrame(
        [("t0", "main", "train", "x", None, "no", None), *((i, "main", "test", "y", None, None, None) for i in "bca")],
        columns=TABLE_COLUMNS,
    ),
    {"main": LABELS},
)


def predictions_of(ids: str, *, logits: list[list[float]], labels: list[str] = LABELS) -> Predictions:
    """Return test predictions of two folds: `ids` gives the order of the rows in both."""
    rows = pd.DataFrame([(i, "main", "test", 0, fold) for fold in (0, 1) for i in ids], columns=PREDICTION_COLUMNS)
    return Predictions("m", "main", labels, rows, np.array(logits, np.float32), "digest", "recipe", 1)


def test_I9_labels_are_the_argmax_of_the_mean_of_the_folds_probabilities_joined_by_row_id() -> None:
    """Fold predictions are joined by row id and averaged, whatever the order of their rows."""
    logits = [[0, 9], [9, 0], [0, 0], [0, 9], [9, 0], [0, 1]]  # a, b, c in fold 0, then in fold 1
    frame = frame_of_tests(predictions_of("abc", logits=logits), TABLE)
    assert frame["row_id"].tolist() == ["b", "c", "a"]
    assert frame["label"].tolist() == ["no", "yes", "yes"]
    assert frame["probability:yes"][1] == pytest.approx((0.5 + 1 / (1 + np.exp(-1))) / 2)


def test_I9_a_test_row_without_a_prediction_is_refused() -> None:
    """A row without a prediction is an error, never a zero."""
    with pytest.raises(DataError, match="1 test rows of task main have none, first 'c'"):
        frame_of_tests(predictions_of("ab", logits=[[0, 1]] * 4), TABLE)


def test_I10_predictions_with_other_labels_than_the_table_are_refused() -> None:
    """Predictions carry their labels in order, and other ones than the table's are refused."""
    with pytest.raises(DataError, match=r"must have the labels \['no', 'yes'\] of task main, got \['yes', 'no'\]"):
        frame_of_tests(predictions_of("abc", logits=[[0, 1]] * 6, labels=["yes", "no"]), TABLE)


def test_a_published_submission_has_its_digest_beside_it(tmp_path: Path) -> None:
    path, digest = publish(kaggle_csv.build(), FRAMES, {}, tmp_path / "submit")
    assert path.read_text() == "id,label\nb,no\na,yes\n"
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sorted(file.name for file in path.parent.iterdir()) == ["submission.csv", "submission.csv.sha256"]


class Spoiling(kaggle_csv.KaggleCsv):
    """A format whose writer loses the end of the file."""

    def write(self, predictions: dict[str, pd.DataFrame], samples: dict[str, Sample | None], folder: Path) -> Path:
        path = super().write(predictions, samples, folder)
        path.write_bytes(path.read_bytes()[:-4])
        return path


def test_I14_no_submission_stays_when_the_check_fails_not_even_an_earlier_one(tmp_path: Path) -> None:
    """A submission is read back from disk and compared before it gets its name; a refused one leaves none."""
    publish(kaggle_csv.build(), FRAMES, {}, tmp_path)
    with pytest.raises(DataError, match="must end with a line end"):
        publish(Spoiling("labels", "id", "label", "submission.csv"), FRAMES, {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_D18_nothing_is_published_when_the_sample_disagrees(tmp_path: Path) -> None:
    """A sample with other ids than the test file leaves no submission behind."""
    (tmp_path / "sample.csv").write_text("id,label\na,no\nz,no\n")
    sample = read_sample(tmp_path / "sample.csv", FileForm(), key="tasks.main.submission.sample_form")
    with pytest.raises(DataError, match=r"only in the sample: 1 \('z'\); only in the test file: 1 \('b'\)"):
        publish(kaggle_csv.build(), FRAMES, {"main": sample}, tmp_path / "submit")
    assert list((tmp_path / "submit").iterdir()) == []


def test_D18_an_error_shows_the_first_examples_only() -> None:
    """Counts of both files and three example ids are shown, and which file is likely wrong."""
    with pytest.raises(DataError, match=r"\(2 rows\), got 3 rows.*The test file lacks rows, or the sample is newer"):
        ordered_ids(["1", "2"], ["1", "2", "3"], task="main", sample=Path("s.csv"))
    with pytest.raises(DataError, match=r"If a column of the test file has .*test_columns: \{id: <that column>\}"):
        ordered_ids(["0", "1"], ["x7", "x9"], task="main", sample=Path("s.csv"))
    with pytest.raises(DataError, match=r"only in the test file: 9 \('0', '1', '2', …\)"):
        ordered_ids([str(i) for i in range(10)], ["9"], task="main", sample=Path("s.csv"))


def test_the_summary_counts_labels_that_nobody_got() -> None:
    frames = {"main": FRAMES["main"].iloc[:1]}
    report = summary("bert", frames, "manifest", Path("out/submit/submission.csv"), "digest")
    assert report["tasks"] == {"main": {"rows": 1, "labels": {"no": 1, "yes": 0}}}
    assert (report["model"], report["manifest"], report["sha256"]) == ("bert", "manifest", "digest")


@pytest.mark.parametrize("second", ["tianchi_json", "{name: kaggle_csv, values: probabilities}"])
def test_tasks_with_different_formats_are_refused(second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, formats=("kaggle_csv", second))
    with pytest.raises(
        ParamsError, match=r"tasks\.other\.submission\.format: must be that of task 'main' \(kaggle_csv"
    ):
        common_format(load_params())


def test_the_stage_writes_the_submission_and_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    write_table(TABLE)
    write_folds(pd.DataFrame([("t0", "main", 0, 0, 0)], columns=FOLDS_COLUMNS))
    manifest = read_folds().digest
    made = predictions_of("abc", logits=[[0, 9], [9, 0], [0, 1]] * 2)
    made = Predictions(**{**made.__dict__, "manifest": manifest})
    write_predictions(made, predictions_path("baseline", "tfidf", "main"))
    submit.main()
    assert (SUBMIT / "submission.csv").read_text() == "id,label\nb,no\nc,yes\na,yes\n"
    report = read_json(SUBMIT / "submission.json")
    assert report["tasks"]["main"]["labels"] == {"no": 1, "yes": 2}
    assert report["manifest"] == manifest

    # Other folds: the stage must refuse the old predictions with the exit code of data errors.
    write_folds(pd.DataFrame([("t0", "main", 0, 1, 0)], columns=FOLDS_COLUMNS))
    shutil.rmtree(SUBMIT)
    with pytest.raises(SystemExit, match="3"):
        submit.main()
    assert "was made from the fold manifest" in json.loads(Path("out/last_error.json").read_text())["message"]
    assert not SUBMIT.exists()
