"""Numbers: read from one column or several, some missing, folded in bins, learned standardised, submitted; all of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import components
from pipeline.artifacts.predictions import Predictions, probabilities_of, read_predictions
from pipeline.artifacts.table import Table
from pipeline.bundle.bundle import bundle
from pipeline.bundle.predictor import load_bundle
from pipeline.data.demo import generate
from pipeline.data.preparing import prepare
from pipeline.data.splitting import assign_folds, cluster_rows
from pipeline.data.task_kinds.regression import Regression
from pipeline.errors.exceptions import DataError
from pipeline.params.loading import load_params
from pipeline.params.tasks import Folds, Task
from pipeline.report.leak_signs import label_in_order, surer_of_scored_rows
from pipeline.report.leaks_of_predictions import _same
from tests.conftest import PARAMS
from tests.faults import harness


def prepared(folder: Path, train: str, label: object = "score", **more: object) -> Table:
    (folder / "train.csv").write_text(train, encoding="utf-8")
    (folder / "test.csv").write_text("id,text\n9,z\n", encoding="utf-8")
    files = {"train": str(folder / "train.csv"), "test": str(folder / "test.csv")}
    columns = {"id": "id", "text": "text", "label": label}
    task = Task.model_validate({"kind": "regression", "metric": "rmse", **files, "columns": columns, **more})
    return prepare({"t": task})


def test_numbers_of_one_column_and_of_several_are_read_and_missing_ones_are_nan(tmp_path: Path) -> None:
    one = prepared(tmp_path, "id,text,score,standard_error\n0,a, 1.5 ,0.4\n1,b,-2e1,\n2,c,+.5,x\n")
    assert one.labels["t"] == ["score"]
    assert one.targets("t", one.select("t", "train")).tolist() == [[1.5], [-20.0], [0.5]]
    several = prepared(tmp_path, "id,text,y,x\n0,a,1,2\n1,b,,3\n2,c,4,\n", label=["y", "x"])
    assert several.labels["t"] == ["y", "x"]
    targets = several.targets("t", several.select("t", "train"))
    np.testing.assert_array_equal(targets, [[1, 2], [np.nan, 3], [4, np.nan]])


def test_a_spelling_may_be_renamed_to_nothing_which_is_missing(tmp_path: Path) -> None:
    table = prepared(tmp_path, "id,text,score\n0,a,1\n1,b,NA\n2,c,3\n", rename_labels={"NA": ""}, missing_labels="drop")
    assert table.targets("t", table.select("t", "train")).tolist() == [[1.0], [3.0]]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("0,a,1\n1,b,high\n2,c,3\n", r"train.csv:3: labels must be a number .*, got 'high' in row '1' \(1 such rows\)"),
        ('0,a,1\n1,b,"1,5"\n', r"train.csv:3: labels must be a number such as -1.5 or 2e3, got '1,5'"),
        ("0,a,1\n1,b,nan\n", r"got 'nan'"),
        ("0,a,1\n1,b,1e99\n", r"got '1e99'"),
        ("0,a,1|2\n1,b,3\n", r"got '1\|2'"),
        ("0,a,1\n1,b,\n2,c,2\n", r"train.csv:3: every training row must have a label, got 1 without"),
        ("0,a,7\n1,b,7.0\n", r"must have different numbers in each column, got 2 rows with 7 in 'score'"),
    ],
)
def test_what_is_no_number_and_a_constant_column_are_refused(tmp_path: Path, train: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, f"id,text,score\n{train}")


def test_of_several_columns_the_wrong_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"train.csv:3: labels must be .* nothing in each of .*, got 'q' in 'x' in row '1'"
    ):
        prepared(tmp_path, "id,text,y,x\n0,a,1,0\n1,b,2,q\n", label=["y", "x"])
    with pytest.raises(DataError, match=r"got no number in 'x'"):
        prepared(tmp_path, "id,text,y,x\n0,a,1,\n1,b,2,\n", label=["y", "x"])


def table_of(targets: np.ndarray, labels: list[str], group: list[str] | None = None) -> Table:
    cells = ["|".join("" if np.isnan(number) else repr(float(number)) for number in row) for row in targets]
    rows = pd.DataFrame({"row_id": [f"{n:03d}" for n in range(len(cells))], "label": cells})
    rows = rows.assign(
        text=[f"t{n // 2}" for n in range(len(cells))], task="t", split="train", text_pair=None, group=group
    )
    return Table(rows, {"t": labels}, {"t": ("regression", {})})


@pytest.mark.parametrize("n_columns", [1, 3])
def test_folds_have_like_targets_and_keep_clusters_whole(n_columns: int) -> None:
    generator = np.random.default_rng(0)
    targets = generator.lognormal(size=(300, n_columns))
    if n_columns > 1:
        targets[generator.random(targets.shape) < 0.2] = np.nan
        targets[:, 0] = generator.random(300)
    table = table_of(targets, [f"y{n}" for n in range(n_columns)])
    settings = Folds(n_splits=3, near_duplicate_similarity=None, holdout_ratio=0.1)
    plan = assign_folds(table, cluster_rows(table, similarity=None), folds=settings, seed=1)
    fold = plan.set_index("row_id")["fold"].loc[table.rows["row_id"]].to_numpy()
    assert (fold.reshape(-1, 2)[:, 0] == fold.reshape(-1, 2)[:, 1]).all() and abs((fold == -1).sum() - 30) <= 6
    parts = [targets[fold == number] for number in range(3)]
    medians = np.stack([np.nanmedian(part, axis=0) for part in parts])
    assert (np.ptp(medians, axis=0) < 0.4 * np.nanstd(targets, axis=0)).all()
    missing = np.stack([np.isnan(part).sum(axis=0) for part in parts])
    assert np.ptp(missing, axis=0).max() <= 5


def test_a_bin_that_one_group_alone_holds_is_scored_all_the_same() -> None:
    """Bins are no classes: the group of all the highest targets is predicted by models that never saw such."""
    targets = np.arange(90.0)[:, None]
    table = table_of(targets, ["y"], group=[str(n // 10) for n in range(90)])
    settings = Folds(n_splits=3, near_duplicate_similarity=None)
    plan = assign_folds(table, cluster_rows(table, similarity=None), folds=settings, seed=1)
    assert sorted(plan["fold"].unique()) == [0, 1, 2]


def test_clipping_is_to_the_range_of_the_rows_given_and_the_leak_check_knows_it() -> None:
    kind, generator = Regression(), np.random.default_rng(0)
    targets, values = 1000 * generator.random((60, 2)), 1500 * generator.random((60, 2)) - 200
    targets[:5, 1] = np.nan
    bounds = kind.fit_decision(targets, values, metric=None)
    np.testing.assert_array_equal(np.reshape(bounds, (2, 2)), [np.nanmin(targets, axis=0), np.nanmax(targets, axis=0)])
    stored = kind.values(kind.logits(kind.apply_decision(values, bounds)))
    assert stored.max() <= np.float32(np.nanmax(targets))
    assert _same(stored, values, kind, scaled=True) and not _same(stored, values, kind, scaled=False)
    assert _same(kind.values(kind.logits(values)), values, kind, scaled=False)
    assert not _same(stored, values[::-1], kind, scaled=True)


def test_errors_are_in_deviations_of_each_column_and_missing_ones_do_not_count() -> None:
    targets = np.array([[0.0, 0.0], [2.0, 200.0], [2.0, np.nan]])
    errors = Regression().errors(targets, np.array([[1.0, 100.0], [2.0, 200.0], [4.0, 7.0]]))
    spread = np.array([0.0, 2.0, 2.0]).std()
    np.testing.assert_allclose(errors, [(1 / spread + 1) / 2, 0, 2 / spread])


@pytest.mark.parametrize(
    ("shared", "own", "shrunken"), [(0.5, 0.5, 1.0), (0.5, 0.5, 0.6), (1.0, 0.2, 1.0), (0.5, 1.0, 1.3)]
)
@pytest.mark.parametrize("name", ["rmse", "mae", "pearson", "spearman"])
def test_the_gain_of_averaging_is_what_the_test_targets_would_say(
    name: str, shared: float, own: float, shrunken: float
) -> None:
    """Members err by a shared part and one of each fold's model; predictions may vary too little or too much."""
    kind, metric, said, true = Regression(), components.build("metrics", name), [], []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        (truth, hidden), noise = generator.normal(size=(2, 2000)), shared * generator.normal(size=(2, 2000))
        signals = truth + noise[0], hidden + noise[1]
        out_of_fold, *by_fold = (
            100 + 10 * shrunken * (signal + own * generator.normal(size=2000))
            for signal in (signals[0], *[signals[1]] * 5)
        )
        test = np.stack(by_fold)[:, :, None]
        possible, weights = kind.plausible_targets(
            100 + 10 * truth[:, None], out_of_fold[:, None], test, twins=np.full(2000, -1), agreement=0.9
        )
        gains = []
        for targets, of_rows in (
            (possible.reshape(-1, 1), weights.reshape(1, -1)),
            (100 + 10 * hidden[:, None], np.ones((1, 2000))),
        ):
            scores = [
                metric.resampled(targets, np.tile(values, (len(targets) // 2000, 1)), of_rows)[0]
                for values in (test.mean(axis=0), *test)
            ]
            gains.append(scores[0] - np.mean(scores[1:]))
        said.append(gains[0])
        true.append(gains[1])
    assert np.mean(said) == pytest.approx(np.mean(true), rel=0.05) and np.mean(said) * metric.sign > 0


def test_possible_numbers_lie_around_the_mean_prediction_and_twins_have_their_twin_s() -> None:
    generator = np.random.default_rng(0)
    targets = generator.normal(size=(500, 2))
    targets[::5, 1] = np.nan
    values = np.nan_to_num(targets) + 0.5 * generator.normal(size=targets.shape)
    test = generator.normal(size=(1, 50, 2)) + 0.1 * generator.normal(size=(3, 50, 2))
    twins = np.where(np.arange(50) < 10, 7, -1)
    possible, weights = Regression().plausible_targets(targets, values, test, twins=twins, agreement=0.9)
    assert np.isfinite(possible[:-1]).all()
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    assert (possible[-1, :10] == targets[7]).all() and (weights[-1, :10] == 0.9).all() and not weights[-1, 10:].any()
    drawn = possible[:-1].mean(axis=0)
    assert np.corrcoef(drawn[:, 0], test.mean(axis=0)[:, 0])[0, 1] > 0.98
    again, _ = Regression().plausible_targets(targets, values, test, twins=twins, agreement=0.9)
    np.testing.assert_array_equal(again, possible)


@pytest.mark.parametrize("knows", [False, True])
def test_a_member_that_knows_the_rows_it_is_scored_on_is_found(knows: bool) -> None:
    """Who learned rows by heart predicts them further from the middle than test rows."""
    generator = np.random.default_rng(0)
    rows = pd.DataFrame({"row_id": range(3000), "task": "t", "repeat": 0, "fold": np.arange(3000) % 3})
    rows = rows.assign(split=np.where(np.arange(3000) < 1500, "oof", "test"))
    logits = 100 + 5 * generator.normal(size=(3000, 1))
    logits[:1500] += 10 * knows * generator.normal(size=(1500, 1))
    member = Predictions("m", "t", ["y"], rows, logits.astype(np.float32), "", "", 0)
    leaks = list(surer_of_scored_rows({"m": member}, kind=Regression(), alike=True))
    assert [leak.kind for leak in leaks] == ["knows the rows it is scored on"] * knows


@pytest.mark.parametrize("ordered", [False, True])
def test_a_file_that_is_in_the_order_of_its_targets_is_a_sign_of_a_leak(ordered: bool) -> None:
    targets = np.random.default_rng(0).normal(size=(400, 1))
    table = table_of(np.sort(targets, axis=0) if ordered else targets, ["y"])
    table.rows["text"] = table.rows["row_id"]
    leaks = list(label_in_order(table, cluster_rows(table, similarity=None)))
    assert [leak.kind for leak in leaks] == ["label told by order or id"] * ordered


def made_competition(folder: Path, labels: list[str]) -> Path:
    """Lay out a competition of numbers around 100 that the words tell."""
    data = folder / "data/tiny"
    generate(data, seed=3, n_train=96, n_test=20)
    train = pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)
    said, generator = train.pop("label"), np.random.default_rng(0)
    for place, label in enumerate(labels):
        numbers = 100 + 10 * said.isin(["annoyed", "mixed"]) + 5 * place + generator.normal(size=len(said))
        train[label] = numbers.round(3).astype(str)
    if len(labels) > 1:
        train.loc[::7, labels[0]] = ""
    train["standard_error"] = "0.5"
    train.to_csv(data / "train.csv", index=False)
    ids = pd.read_csv(data / "test.csv", dtype=str)["id"]
    pd.DataFrame({"id": ids, **dict.fromkeys(labels[::-1], 0.0)}).to_csv(data / "sample_submission.csv", index=False)
    params = PARAMS.replace("kind: multiclass", "kind: regression").replace("metric: accuracy", "metric: rmse")
    params = params.replace("label: label", f"label: [{', '.join(labels)}]").replace("epochs: 1,", "epochs: 2,")
    params = params.replace("n_splits: 2,", "n_splits: 3, holdout_ratio: 0.1,").replace("seconds: 0.001", "seconds: 60")
    params = params.replace("tfidf_logistic", "tfidf_ridge").replace("ladder: [mean, logistic], ", "")
    step = "{augmenter: {name: random_words, action: swap}, balance_to: largest, n_copies: 1}"
    params = params.replace("augment: {}", f"augment: {{steps: [{step}]}}")
    params = params.replace("columns:", "report_metrics: [mae, mcrmse, pearson, spearman]\n    columns:")
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    (folder / harness.MARKS).mkdir()
    return folder


@pytest.fixture(scope="module")
def finished_regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A competition of two numbers, one of which is missing in some rows, that went through all stages."""
    folder = made_competition(tmp_path_factory.mktemp("regression"), ["grade", "level"])
    harness.finish(folder)
    return folder


def test_the_whole_graph_ends_in_a_submission_a_report_and_scores(finished_regression: Path) -> None:
    submission = pd.read_csv(finished_regression / "out/submit/submission.csv")
    assert list(submission) == ["id", "level", "grade"] and len(submission) == 20
    assert submission["grade"].between(95, 115).all() and submission["level"].between(100, 120).all()
    task = json.loads((finished_regression / "out/stack/scores.json").read_text(encoding="utf-8"))["tasks"]["intent"]
    names = {model["name"] for model in task["models"]}
    assert names >= {"bert", "bert+electra+cnn", "tfidf", "mean", "median", "greedy", "ridge", "lightgbm"}
    assert not names & {"rank_mean", "logistic"}
    # The spread of each column is about 5: a model whose outputs were not in the targets' units would be off by 100.
    assert all(model["score"] < 8 for model in task["models"]) and task["label_shift"] is None
    assert 0 < task["estimate"]["test_low"] < task["estimate"]["expected"] < task["estimate"]["test_high"]
    [table] = task["tables"]
    assert [row[0] for row in table["rows"]] == ["grade", "level"] and len(table["columns"]) == len(table["rows"][0])
    report = (finished_regression / "out/report/report.html").read_text(encoding="utf-8")
    assert (
        "<h4>Targets</h4>" in report
        and "<h2>Predicted against true</h2>" in report
        and "Error, in deviations" in report
    )
    assert (
        "<h2>Calibration</h2>" not in report and "Confusion matrix" not in report and "not cross-fitted" not in report
    )
    audit = json.loads((finished_regression / "out/prepare/audit.json").read_text(encoding="utf-8"))["intent"]
    assert audit["classes"]["grade missing"] == 14


def test_a_bundled_model_predicts_in_the_targets_units_as_the_graph_did(
    finished_regression: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_regression)
    folder = tmp_path / "model"
    bundle(load_params(), model="bert+electra+cnn", task="intent", folder=folder, check_rows=0)
    model = load_bundle(folder)
    rows = pd.read_csv("data/tiny/test.csv", dtype=str, keep_default_na=False)
    frame = model.predict_frame(rows["synthetic_text"].tolist())
    assert list(frame) == ["label", "value:grade", "value:level"]
    stored = read_predictions(Path("out/stitch/bert+electra+cnn/intent.parquet"), manifest=None)
    wanted = probabilities_of(stored, "test", rows["id"].tolist(), kind=Regression())
    np.testing.assert_allclose(frame[["value:grade", "value:level"]].to_numpy(), wanted, rtol=1e-4)
    averages = model.combined({}, 2)
    assert averages.shape == (2, 2) and (np.abs(averages - wanted.mean(axis=0)) < 3 * wanted.std(axis=0) + 1).all()
    assert frame["label"][0] == "|".join(repr(float(value)) for value in frame.iloc[0, 1:])
