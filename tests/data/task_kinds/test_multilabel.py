"""Several labels per row: read from one column or several, drawn as often as is likely, folded, submitted; all of it."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import components
from pipeline.artifacts.table import Table
from pipeline.data.demo import generate
from pipeline.data.preparing import prepare
from pipeline.data.splitting import assign_folds, cluster_rows
from pipeline.data.task_kinds.multilabel import Multilabel
from pipeline.errors.exceptions import DataError, ParamsError
from pipeline.params.tasks import Folds, Task
from pipeline.report.leaks_of_predictions import _same
from tests.conftest import PARAMS
from tests.faults import harness

LABELS = ["annoyed", "pleased", "short"]


def prepared(folder: Path, train: str, kind: object = "multilabel", label: object = "labels", **more: object) -> Table:
    (folder / "train.csv").write_text(train, encoding="utf-8")
    (folder / "test.csv").write_text("id,text\n9,z\n", encoding="utf-8")
    files = {"train": str(folder / "train.csv"), "test": str(folder / "test.csv")}
    columns = {"id": "id", "text": "text", "label": label}
    task = Task.model_validate({"kind": kind, "metric": "f1_macro", **files, "columns": columns, **more})
    return prepare({"t": task})


def test_names_of_one_column_and_columns_of_0_and_1_are_the_same_targets(tmp_path: Path) -> None:
    names = prepared(
        tmp_path, "id,text,labels\n0,a,y  x\n1,b,y\n2,c,x x\n3,d,\n", {"name": "multilabel", "empty": "none"}
    )
    columns = prepared(tmp_path, "id,text,y,x\n0,a,1,1.0\n1,b,1,0\n2,c,No,yes\n3,d,0,false\n", label=["y", "x"])
    assert names.labels["t"] == ["x", "y"] and columns.labels["t"] == ["y", "x"]
    assert names.targets("t", names.select("t", "train")).tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]
    assert columns.targets("t", columns.select("t", "train")).tolist() == [[1, 1], [1, 0], [0, 1], [0, 0]]
    assert names.rows["label"].dropna().tolist() == columns.rows["label"].dropna().tolist() == ["x y", "y", "x", ""]


def test_names_are_renamed_and_separated_as_is_said(tmp_path: Path) -> None:
    kind, train = {"name": "multilabel", "separator": ","}, 'id,text,labels\n0,a,"X, not y"\n1,b,not y\n2,c,x\n'
    table = prepared(tmp_path, train, kind, rename_labels={"X": "x"})
    assert table.labels["t"] == ["not y", "x"] and table.rows["label"][0] == "not y,x"


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        ("0,a,x y\n1,b,\n2,c,y\n", {}, r"train.csv:3: every training row must have a label, got 1"),
        (
            "0,a,x y\n1,b,q\n",
            {"labels": ["x", "y"]},
            r"train.csv:3: labels must be names of .*'x', 'y'.*, got 'q' in row '1'",
        ),
        ("0,a,x y\n1,b,y\n", {}, r"must have rows with and without each label, got 2 of 2 rows with 'y'"),
        ("0,a,x\n1,b,y\n", {"labels": ["x", "y", "z", "w"]}, r"got 0 of 2 rows with 'z' and 1 more"),
        ("0,a,x\n1,b,x\n", {}, r"must have at least two labels, got 1: \['x'\]"),
    ],
)
def test_wrong_names_constant_labels_and_empty_cells_are_refused(
    tmp_path: Path, train: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, f"id,text,labels\n{train}", **options)


def test_two_labels_of_which_rows_have_several_need_no_order(tmp_path: Path) -> None:
    probabilities = {"format": {"name": "kaggle_csv", "values": "probabilities"}}
    train = "id,text,labels\n0,a,good bad\n1,b,good\n2,c,bad\n"
    assert prepared(tmp_path, train, submission=probabilities).labels["t"] == ["bad", "good"]


def test_a_cell_that_is_no_yes_and_no_no_is_named_with_its_column(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"train.csv:3: labels must be .*0 and 1 in a column.*, got 'x=maybe' in row '1'"
    ):
        prepared(tmp_path, "id,text,x,y\n0,a,1,0\n1,b,maybe,1\n", label=["x", "y"])
    with pytest.raises(DataError, match=r"got 'y=' in row '1'"):
        prepared(tmp_path, "id,text,x,y\n0,a,1,0\n1,b,0,\n", label=["x", "y"])
    with pytest.raises(ParamsError, match=r"separator must stand in no label, got ' ' for 'so so'"):
        prepared(tmp_path, "id,text,so so,y\n0,a,1,0\n1,b,0,1\n", label=["so so", "y"])
    with pytest.raises(ParamsError, match="separator: string should have at least 1 character, got ''"):
        components.build("task_kinds", "multilabel", {"separator": ""})


def test_labels_on_few_rows_are_warned_of_before_anything_is_trained(tmp_path: Path, caplog) -> None:
    rows = "".join(
        f"{number},text {number},{'x y' if number < 5 else 'x' if number % 2 else 'z'}\n" for number in range(60)
    )
    with caplog.at_level(logging.WARNING):
        prepared(tmp_path, f"id,text,labels\n{rows}")
    assert "labels with fewer than 20 rows, thresholds stay at 0.5: 'y' (5)" in caplog.text


def test_folds_share_out_every_label_and_keep_clusters_whole() -> None:
    generator = np.random.default_rng(0)
    names = [" ".join(np.array(LABELS)[generator.random(3) < [0.4, 0.2, 0.05]]) for _ in range(300)]
    rows = pd.DataFrame(
        {"row_id": [f"{n:03d}" for n in range(300)], "label": names, "text": [f"t{n // 2}" for n in range(300)]}
    )
    rows = rows.assign(task="t", split="train", text_pair=None, group=None)
    table = Table(rows, {"t": LABELS}, {"t": ("multilabel", {"empty": "none"})})
    settings = Folds(n_splits=3, near_duplicate_similarity=None, holdout_ratio=0.1)
    plan = assign_folds(table, cluster_rows(table, similarity=None), folds=settings, seed=1)
    targets = table.targets("t", rows)
    fold = plan.set_index("row_id")["fold"].loc[rows["row_id"]].to_numpy()
    assert (fold.reshape(-1, 2)[:, 0] == fold.reshape(-1, 2)[:, 1]).all()
    counts = np.stack([targets[fold == number].sum(axis=0) for number in (0, 1, 2)])
    assert np.ptp(counts, axis=0).max() <= 3 and abs((fold == -1).sum() - 30) <= 3


def test_possible_labels_are_as_likely_as_models_say_and_twins_have_their_twin_s() -> None:
    generator = np.random.default_rng(0)
    values = generator.random((2000, 2))
    targets = (generator.random(values.shape) < values).astype(np.int8)
    test = generator.random((1, 50, 2)).repeat(3, axis=0)
    twins = np.where(np.arange(50) < 10, 7, -1)
    possible, weights = Multilabel().plausible_targets(targets, values, test, twins=twins, agreement=0.9)
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    assert (possible[-1, :10] == targets[7]).all() and (weights[-1, :10] == 0.9).all() and not weights[-1, 10:].any()
    drawn = (possible * weights[..., None]).sum(axis=0)[10:]
    assert np.abs(drawn - test[0, 10:]).mean() < 0.08


def test_the_leak_check_knows_predictions_that_thresholds_moved_and_no_others() -> None:
    kind, plain = Multilabel(), np.random.default_rng(0).random((60, 3))
    stored = kind.values(kind.logits(kind.apply_decision(plain, [0.2, 0.5, 0.7])))
    assert _same(stored, plain, kind, scaled=True) and not _same(stored, plain, kind, scaled=False)
    assert not _same(stored, plain[::-1], kind, scaled=True)


@pytest.fixture(scope="module")
def finished_multilabel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A competition of three labels, of which rows have none or several, that went through all stages."""
    folder = tmp_path_factory.mktemp("multilabel")
    data = folder / "data/tiny"
    generate(data, seed=3, n_train=84, n_test=20)
    train = pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)
    said = train.pop("label")
    for label in ("annoyed", "pleased"):
        train[label] = said.isin([label, "mixed"]).astype(int)
    train["short"] = (train["synthetic_text"].str.len() < 22).astype(int)
    train.to_csv(data / "train.csv", index=False)
    ids = pd.read_csv(data / "test.csv", dtype=str)["id"]
    pd.DataFrame({"id": ids, "short": 0, "annoyed": 0, "pleased": 0}).to_csv(
        data / "sample_submission.csv", index=False
    )
    params = PARAMS.replace("kind: multiclass", "kind: multilabel").replace("metric: accuracy", "metric: f1_macro")
    params = params.replace("label: label", "label: [annoyed, pleased, short]").replace(
        "epochs: 1,", "epochs: 1, loss: zlpr,"
    )
    params = params.replace("stitch: {", "stitch: {loss: bce, ").replace("[mean, logistic]", "[mean, greedy, lightgbm]")
    step = "{augmenter: {name: random_words, action: swap}, balance_to: largest, n_copies: 1}"
    params = params.replace("augment: {}", f"augment: {{steps: [{step}], quality: {{flip_confidence: 0.6}}}}")
    params = params.replace("n_splits: 2,", "n_splits: 3, holdout_ratio: 0.1,").replace("seconds: 0.001", "seconds: 60")
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    (folder / harness.MARKS).mkdir()
    harness.finish(folder)
    return folder


def test_the_whole_graph_ends_in_a_submission_a_report_and_scores(finished_multilabel: Path) -> None:
    submission = pd.read_csv(finished_multilabel / "out/submit/submission.csv", dtype=str)
    assert list(submission) == ["id", "short", "annoyed", "pleased"]
    assert set(submission["annoyed"]) <= {"0", "1"} and len(submission) == 20
    task = json.loads((finished_multilabel / "out/stack/scores.json").read_text(encoding="utf-8"))["tasks"]["intent"]
    assert {model["name"] for model in task["models"]} >= {"bert", "bert+electra+cnn", "tfidf", "lightgbm"}
    assert len(task["decision"]["scales"]) == 3 and task["label_shift"] is None
    assert 0 < task["estimate"]["test_low"] < task["estimate"]["expected"] < task["estimate"]["test_high"] <= 1
    [table] = task["tables"]
    assert [row[0] for row in table["rows"]] == LABELS and len(table["columns"]) == len(table["rows"][0])
    report = (finished_multilabel / "out/report/report.html").read_text(encoding="utf-8")
    assert "<h4>Labels</h4>" in report and "Confusion matrix" not in report
    assert ("<h2>Calibration</h2>" in report) == (not task["decision"]["used"])
    assert "not cross-fitted" not in report
    sent = json.loads((finished_multilabel / "out/submit/submission.json").read_text(encoding="utf-8"))
    assert sent["tasks"]["intent"]["labels"]["short"] == (submission["short"] == "1").sum()
