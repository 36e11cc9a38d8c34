"""What a competition would refuse after training is refused before it."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.artifacts.table import TABLE_COLUMNS, Table
from pipeline.data.preparing import prepare
from pipeline.errors.exceptions import DataError
from pipeline.params.loading import load_params
from pipeline.submit.format import Format, Sample
from pipeline.submit.rehearsal import rehearse
from pipeline.submit.submitting import common_format
from tests.competition import write_params
from tests.small import make_table

LABELS = ["no", "yes"]


def table_of(labels: list[str], ids: list[str]) -> Table:
    rows = [(i, "main", "test", "y", None, None, None) for i in ids]
    return make_table(pd.DataFrame(rows, columns=TABLE_COLUMNS), {"main": labels})


@pytest.mark.parametrize(
    ("sample", "error", "message"),
    [
        ("id,label\na,no\nb,no\nz,no\n", "E306", r"only in the sample: 1 \('z'\); only in the test file: 1 \('c'\)"),
        ("id,no,yes\na,0,1\nb,0,1\nc,0,1\n", "E306", "must have two columns"),
        (
            "id,label\na,0\nb,0\nc,1\n",
            "E305",
            r"must be labels of task main, \['no', 'yes'\], got \['0', '1'\], none of them",
        ),
        ("id,label\na,no\nb,no\nc,\n", None, ""),
    ],
)
def test_D16_D18_a_sample_that_disagrees_is_found_before_training(
    sample: str, error: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample submission is compared with the test file and the labels by the first stage, not after a night."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    (tmp_path / "data" / "c" / "sample.csv").write_text(sample, encoding="utf-8")
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("format: kaggle_csv", "format: kaggle_csv, sample: data/c/sample.csv"))
    if error is None:
        rehearse(load_params(), table_of(LABELS, ["b", "c", "a"]))
        return
    with pytest.raises(DataError, match=message) as caught:
        rehearse(load_params(), table_of(LABELS, ["b", "c", "a"]))
    assert caught.value.code == error


@pytest.mark.parametrize(
    ("labels", "ids", "message"),
    [
        (
            ["neg", "pos\r"],
            ["a"],
            r"labels of task main .* a carriage return, got 1 .*'pos\\r'\. Rename it in tasks\.main\.",
        ),
        (["neg", "po\0s"], ["a"], "labels of task main must not hold a zero byte"),
        (
            LABELS,
            ["a", "b\0"],
            r"ids of task main must not hold a zero byte, got 1 that do, first 'b\\x00'\. Mend the test",
        ),
        (LABELS, ["a\r", "b"], "ids of task main must not hold a carriage return"),
    ],
)
def test_S2_I14_what_no_file_can_hold_is_found_before_training(
    labels: list[str], ids: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label that ends in a carriage return or an id with a zero byte is named by the first stage, not after a night."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    with pytest.raises(DataError, match=message):
        rehearse(load_params(), table_of(labels, ids))


@pytest.mark.parametrize("form", ["kaggle_csv", "tianchi_json", "{name: kaggle_csv, values: probabilities}"])
def test_I14_all_that_is_checked_at_the_end_is_rehearsed_for_every_label(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a submission is checked for after training it is checked for before, with every label, however few the rows."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, formats=(form,))
    labels, seen, built = ["a", "b", "c", "d", "e\n,é"], [], common_format(load_params())

    def check(
        self: Format, path: Path, predictions: dict[str, pd.DataFrame], samples: dict[str, Sample | None]
    ) -> None:
        real(self, path, predictions, samples)
        seen.extend(predictions["main"]["label"])
        if set(labels) <= set(seen):
            raise DataError("refused")

    real = type(built).check
    monkeypatch.setattr(type(built), "check", check)
    with pytest.raises(DataError, match="submission, rehearsed before training: refused"):
        rehearse(load_params(), table_of(labels, ["x", "y"]))
    assert len(seen) == 6


def test_D18_rows_that_the_sample_counts_from_one_are_named_and_then_counted_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample that counts from 1 the rows of a test file without ids names `test_columns`, which then fits."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    Path("data/c/train.csv").write_text("text,label\na,no\nb,yes\nc,no\n")
    Path("data/c/test.csv").write_text("text\nd\ne\n")
    Path("data/c/sample.csv").write_text("id,label\n1,no\n2,no\n")
    text = Path("params.yaml").read_text().replace("kaggle_csv", "kaggle_csv, sample: data/c/sample.csv")
    Path("params.yaml").write_text(text)
    params = load_params()
    wanted = r"counts from 1, .* from 0\. If the test file has no ids, set tasks\.main\.test_columns: {first_id: 1}\."
    with pytest.raises(DataError, match=wanted):
        rehearse(params, prepare(params.tasks))
    Path("params.yaml").write_text(text.replace("kind: binary", "kind: binary, test_columns: {first_id: 1}"))
    params = load_params()
    table = prepare(params.tasks)
    rehearse(params, table)
    assert [table.select("main", split)["row_id"].tolist() for split in ("train", "test")] == [
        ["0", "1", "2"],
        ["1", "2"],
    ]
