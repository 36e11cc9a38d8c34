"""A submission for each test file: of its own rows, checked against its own sample, and none where one does not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.predictions import PREDICTION_COLUMNS, Predictions
from pipeline.artifacts.submissions import chosen, read_submissions
from pipeline.artifacts.table import FILE_COLUMNS, TABLE_COLUMNS
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.loading import load_params
from pipeline.params.root import Params
from pipeline.submit.rehearsal import rehearse
from pipeline.submit.submissions import publish_all
from tests.competition import write_params
from tests.small import make_table

LABELS = ["no", "yes"]
IDS = {"a": ["0", "1", "2"], "b": ["1", "0"]}
ROWS = [(f"{file}:{i}", "main", "test", "y", None, None, None, file, i) for file, ids in IDS.items() for i in ids]
TABLE = make_table(pd.DataFrame(ROWS, columns=TABLE_COLUMNS + FILE_COLUMNS), {"main": LABELS})
YES = {"a:1", "b:0"}


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return params of two test files, with what the submission says besides."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    Path("data/c/b.csv").touch()
    text = (
        Path("params.yaml").read_text().replace("test: data/c/test.csv", "test: {a: data/c/test.csv, b: data/c/b.csv}")
    )

    def load(more: str = "") -> Params:
        Path("params.yaml").write_text(text.replace("{format: kaggle_csv}", f"{{format: kaggle_csv{more}}}"))
        return load_params()

    return load


def predictions() -> Predictions:
    """Return predictions whose rows come in no order."""
    keys = sorted((row[0] for row in ROWS), reverse=True)
    rows = pd.DataFrame([(key, "main", "test", 0, 0) for key in keys], columns=PREDICTION_COLUMNS)
    logits = np.array([[0, 9] if key in YES else [9, 0] for key in keys], np.float32)
    return Predictions("m", "main", LABELS, rows, logits, "digest", "recipe", 1)


def test_each_file_has_the_answers_to_its_own_rows_in_the_order_of_its_own_sample(load: Any, tmp_path: Path) -> None:
    Path("data/c/sample.csv").write_text("id,label\n0,no\n1,yes\n")
    params = load(", sample: {b: data/c/sample.csv}")
    rehearse(params, TABLE)
    publish_all(params, TABLE, {"main": predictions()}, model="m", folder=tmp_path / "out")
    assert (tmp_path / "out/a/submission.csv").read_text() == "id,label\n0,no\n1,yes\n2,no\n"
    assert (tmp_path / "out/b/submission.csv").read_text() == "id,label\n0,yes\n1,no\n"
    records = read_submissions(tmp_path / "out")
    assert [record["tasks"]["main"]["labels"] for record in records.values()] == [
        {"no": 2, "yes": 1},
        {"no": 1, "yes": 1},
    ]


@pytest.mark.parametrize("samples", ["sample: {b: data/c/sample.csv}", "sample: data/c/sample.csv"])
def test_a_sample_that_is_not_of_its_test_file_is_found_before_training(load: Any, samples: str) -> None:
    Path("data/c/sample.csv").write_text("id,label\n0,no\n1,yes\n2,no\n")
    with pytest.raises(
        DataError, match=r"test file of task main \(2 rows\), got 3 rows; only in the sample: 1 \('2'\)"
    ):
        rehearse(load(f", {samples}"), TABLE)


def test_which_of_several_is_meant_must_be_said() -> None:
    several: Any = {"a": {}, "b": {}}
    with pytest.raises(ParamsError, match=r"--test: got None, expected one of \['a', 'b'\]"):
        chosen(several, None)
    with pytest.raises(ParamsError, match=r"--test: must not be given where the only test file has no name, got 'a'"):
        chosen({"": several["a"]}, "a")
