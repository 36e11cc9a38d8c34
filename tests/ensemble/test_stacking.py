"""The ensemble: joined by row id, honest in its estimate, deterministic, and readable by the report."""

import json
from functools import partial

import numpy as np
import pytest

from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.paths import METRICS, OUT, PLOTS, SCORES, predictions_path
from pipeline.artifacts.predictions import Predictions, read_predictions, write_predictions
from pipeline.artifacts.table import read_folds, write_folds, write_table
from pipeline.components import load
from pipeline.data.class_targets import ClassTargets
from pipeline.ensemble.decisions import (
    Decision,
    Plan,
    build_ladder,
    choose_rung,
    cross_fit,
    cross_fit_plan,
    decide,
    own_folds,
    tune_decision,
)
from pipeline.ensemble.scoring import plot_tables
from pipeline.ensemble.stacking import (
    build_ensemble,
    describe_ensemble,
    ensemble_predictions,
    gather_members,
)
from pipeline.errors.exceptions import DataError
from pipeline.params.fields import Component
from stages.stack import main
from tests.competition import DIGEST, competition
from tests.small import make_metric

KIND = ClassTargets()


class Parrot:
    """A stacker that learns its rows by heart: the planted leak."""

    def __init__(self, **_):
        self.known = {}

    def fit(self, probabilities, labels):
        self.known = {row.tobytes(): label for row, label in zip(probabilities, labels, strict=True)}

    def predict(self, probabilities):
        n_outputs = probabilities.shape[2]
        return np.stack([
            np.eye(n_outputs)[self.known[row.tobytes()]] * 0.9 + 0.1 / n_outputs
            if row.tobytes() in self.known
            else row.mean(axis=0)
            for row in probabilities
        ])  # fmt: skip

    def weights(self):
        return None

    def state(self):
        return {}

    def load_state(self, state):
        pass


def ladder_of(*names, metric, seed=0):
    return build_ladder([Component(kind="stackers", name=name) for name in names], metric=metric, seed=seed)


def stacked(*, metric="accuracy", rungs=("mean", "greedy", "logistic"), tune=True, seed=0, **options):
    table, folds, members = competition(**options)
    gathered = gather_members(members, table=table, folds=folds, task="news")
    built = make_metric(metric, len(gathered.labels))
    ladder = ladder_of(*rungs, metric=built, seed=seed)
    return gathered, build_ensemble(gathered, ladder=ladder, metric=built, tune=tune, seed=seed)


def described(gathered, ensemble, metric="accuracy", also=("f1_macro",), **options):
    metrics = {name: make_metric(name, len(gathered.labels)) for name in (metric, *also)}
    kinds = {name: "encoder" for name in gathered.names} | {gathered.names[-1]: "baseline"}
    return describe_ensemble(
        gathered, ensemble, kinds=kinds, metric_name=metric, metrics=metrics, n_bootstrap=100, seed=0, **options
    )


def test_members_are_joined_by_row_id_whatever_the_order_of_their_rows():
    table, folds, members = competition()
    plain = gather_members(members, table=table, folds=folds, task="news")
    model = members["model1"]
    order = np.random.default_rng(9).permutation(len(model.rows))
    rows = model.rows.iloc[order].reset_index(drop=True)
    members["model1"] = Predictions(
        "model1", "news", model.labels, rows, model.logits[order], model.manifest, model.recipe, model.seed
    )
    shuffled = gather_members(members, table=table, folds=folds, task="news")
    assert np.array_equal(shuffled.out_of_fold, plain.out_of_fold)
    # The test rows are means over folds and repeats, whose order of addition may move the last bit.
    assert shuffled.test_probabilities == pytest.approx(plain.test_probabilities, abs=1e-12)


def test_I10_members_with_another_order_of_labels_are_put_in_the_table_s_order():
    """Members may store labels in any order; they are joined by name, in the table's order."""
    table, folds, members = competition(labels=("a", "b", "c"))
    plain = gather_members(members, table=table, folds=folds, task="news")
    model = members["model0"]
    members["model0"] = Predictions(
        "model0", "news", ["c", "a", "b"], model.rows, model.logits[:, [2, 0, 1]], DIGEST, "", 0
    )
    turned = gather_members(members, table=table, folds=folds, task="news")
    assert turned.out_of_fold == pytest.approx(plain.out_of_fold)


def test_a_member_with_other_labels_is_refused():
    table, folds, members = competition()
    model = members["model0"]
    members["model0"] = Predictions("model0", "news", ["no", "maybe"], model.rows, model.logits, DIGEST, "", 0)
    with pytest.raises(DataError, match=r"model0, task news: must be of task news with the labels .*maybe"):
        gather_members(members, table=table, folds=folds, task="news")


def test_a_member_that_predicted_a_row_in_another_fold_is_refused():
    table, folds, members = competition()
    rows = members["model2"].rows
    row = rows.index[rows["split"] == "oof"][0]
    rows.loc[row, "fold"] = (rows.loc[row, "fold"] + 1) % 4
    with pytest.raises(
        DataError, match=rf"1 out-of-fold rows are not in the fold .* first '{rows.loc[row, 'row_id']}'"
    ):
        gather_members(members, table=table, folds=folds, task="news")


def test_a_member_that_lacks_a_row_is_refused():
    table, folds, members = competition()
    model = members["model0"]
    kept = (model.rows["row_id"] != "t7").to_numpy()
    members["model0"] = Predictions(
        "model0", "news", model.labels, model.rows[kept].reset_index(drop=True), model.logits[kept], DIGEST, "", 0
    )
    with pytest.raises(DataError, match="first 't7'"):
        gather_members(members, table=table, folds=folds, task="news")


def test_a_label_outside_the_label_list_is_refused():
    table, folds, members = competition()
    table.rows.loc[5, "label"] = "perhaps"
    with pytest.raises(DataError, match=r"row 't5': label must be one of \['no', 'yes'\], got 'perhaps'"):
        gather_members(members, table=table, folds=folds, task="news")


def test_L4_no_stacker_of_a_world_has_seen_the_labels_of_its_fold():
    """A stacker is fitted on out-of-fold predictions of other folds than the one it predicts."""
    generator = np.random.default_rng(0)
    probabilities, folds = generator.dirichlet([1, 1], (80, 2)), np.arange(80) % 4
    labels = generator.integers(0, 2, 80)
    build = load("stackers", "logistic")
    plain = cross_fit(build, probabilities, labels, folds)
    for fold in range(4):
        changed = np.where(folds == fold, 1 - labels, labels)
        other = cross_fit(build, probabilities, changed, folds)
        assert np.array_equal(other[fold], plain[fold])
        assert not np.array_equal(other[(fold + 1) % 4], plain[(fold + 1) % 4])


def test_L7_the_estimate_of_a_fold_does_not_depend_on_its_labels():
    """Rung, thresholds and scales for a fold are chosen without the labels of that fold."""
    generator = np.random.default_rng(1)
    folds, labels = np.arange(120) % 3, generator.integers(0, 3, 120)
    probabilities = generator.dirichlet(np.ones(3), (120, 4)) * 0.7 + 0.3 * np.eye(3)[labels][:, None]
    metric = make_metric("f1_macro", 3)
    ladder = ladder_of("logistic", "greedy", metric=metric)
    options = {"clusters": np.arange(120), "kind": KIND, "metric": metric, "tune": True, "seed": 0}

    def estimate(labels):
        worlds = [cross_fit(build, probabilities, labels, folds) for build in ladder.values()]
        return cross_fit_plan(labels, worlds, folds, **options)

    plain = estimate(labels)
    for fold in range(3):
        changed = np.where(folds == fold, (labels + 1) % 3, labels)
        assert np.array_equal(estimate(changed)[folds == fold], plain[folds == fold])
        assert not np.array_equal(estimate(changed), plain)


@pytest.mark.parametrize("fold", range(4))
def test_the_choices_for_a_fold_are_made_in_its_own_world(fold):
    generator = np.random.default_rng(8)
    labels, folds = generator.integers(0, 3, 400), np.arange(400) % 4
    right = np.eye(3)[labels] * 0.4
    # Three rungs, the last much the best: with the order of the rungs turned in all other worlds, a choice made there
    # would take the first.
    worlds = np.stack([generator.dirichlet(np.ones(3), (4, 400)) + strength * right for strength in (0.1, 0.5, 2.0)])
    worlds /= worlds.sum(axis=3, keepdims=True)
    turned = worlds[::-1].copy()
    turned[:, fold] = worlds[:, fold]
    metric = make_metric("f1_macro", 3)
    options = {"clusters": np.arange(400), "kind": KIND, "metric": metric, "tune": True, "seed": 0}
    plain, other = (cross_fit_plan(labels, list(rungs), folds, **options) for rungs in (worlds, turned))
    assert np.array_equal(other[folds == fold], plain[folds == fold])


def test_L2_a_stacker_that_knows_its_rows_by_heart_is_found_out():
    """A stacker that learns its rows by heart gains nothing: its estimate is cross-fitted."""
    generator = np.random.default_rng(2)
    probabilities, labels = generator.dirichlet([1, 1], (600, 3)), generator.integers(0, 2, 600)
    folds = np.arange(600) % 5
    score = make_metric("accuracy", 2).score
    leaking = Parrot()
    leaking.fit(probabilities, labels)
    assert score(labels, leaking.predict(probabilities)) == 1.0
    honest = own_folds(cross_fit(Parrot, probabilities, labels, folds), folds)
    assert abs(score(labels, honest) - 0.5) < 3.3 * np.sqrt(0.25 / 600)


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "auc"])
@pytest.mark.parametrize("seed", range(3))
def test_the_estimate_of_many_useless_members_stays_at_chance(metric, seed):
    gathered, ensemble = stacked(metric=metric, n_rows=300, signals=(0.0,) * 25, n_repeats=1, seed=seed)
    score = make_metric(metric, 2).score
    final = ensemble.out_of_fold.mean(axis=0)
    assert abs(score(gathered.train.labels, final) - 0.5) < 3.3 * np.sqrt(0.25 / 300) * (1 if metric != "auc" else 1.2)
    # The greedy rung on the rows it was fitted on shows what not crossing would have claimed.
    greedy = ensemble.fitted["greedy"].predict(gathered.out_of_fold[0])
    assert score(gathered.train.labels, greedy) > 0.56


def test_a_tuned_decision_of_useless_members_stays_at_chance():
    # Twelve labels give many scales to overfit; chance of macro-F1 is about 1 / 12.
    labels = tuple("abcdefghijkl")
    gathered, ensemble = stacked(metric="accuracy", n_rows=480, signals=(0.0,) * 4, labels=labels, n_repeats=1)
    score = make_metric("accuracy", 12).score
    assert score(gathered.train.labels, ensemble.out_of_fold[0]) < 1 / 12 + 3.3 * np.sqrt(1 / 12 * 11 / 12 / 480)


def test_the_simplest_rung_within_one_standard_error_is_taken():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, 500)
    good = np.eye(2)[labels] * 0.6 + 0.2
    nearly = good.copy()
    nearly[:1] = 1 - nearly[:1]
    bad = good.copy()
    bad[:100] = 1 - bad[:100]
    choose = partial(choose_rung, clusters=np.arange(500), metric=make_metric("accuracy", 2), seed=0)
    assert choose(labels, [nearly, good]) == 0
    assert choose(labels, [bad, good]) == 1
    assert choose(labels, [bad, nearly, good]) == 1
    assert choose(labels, [good, bad]) == 0


def test_a_metric_that_is_better_when_lower_is_minimised():
    labels = np.random.default_rng(4).integers(0, 2, 200)
    sure, unsure = np.eye(2)[labels] * 0.8 + 0.1, np.full((200, 2), 0.5)
    metric = make_metric("log_loss", 2)
    assert choose_rung(labels, [unsure, sure], clusters=np.arange(200), metric=metric, seed=0) == 1


def test_a_rung_without_a_score_is_not_taken():
    labels = np.array([0, 1] * 20)
    broken = np.full((40, 2), np.nan)
    metric = make_metric("log_loss", 2)
    assert choose_rung(labels, [broken, np.full((40, 2), 0.5)], clusters=np.arange(40), metric=metric, seed=0) == 1


def test_two_label_scales_are_a_threshold_and_as_good_as_any_on_the_grid():
    generator = np.random.default_rng(5)
    labels = (generator.random(400) < 0.2).astype(int)
    second = np.clip(0.25 * labels + 0.3 * generator.random(400), 0, 1)
    probabilities = np.stack([1 - second, second], axis=1)
    metric = make_metric("f1_binary", 2)
    scales = KIND.fit_decision(labels, probabilities, metric=metric)
    score = metric.score(labels, KIND.apply_decision(probabilities, scales))
    factors = np.exp(np.linspace(-2, 2, 41))
    grid = [metric.score(labels, KIND.apply_decision(probabilities, [1, factor])) for factor in factors]
    assert score == max(grid) > metric.score(labels, probabilities)


def test_scales_that_gain_nothing_stay_at_one():
    labels = np.random.default_rng(6).integers(0, 4, 100)
    metric = make_metric("f1_macro", 4)
    assert KIND.fit_decision(labels, np.eye(4)[labels] * 0.6 + 0.1, metric=metric) == [1, 1, 1, 1]


@pytest.mark.parametrize("n_outputs", [3, 6])
def test_coordinate_search_never_loses_on_the_rows_it_sees(n_outputs):
    generator = np.random.default_rng(n_outputs)
    labels = generator.choice(n_outputs, 500, p=generator.dirichlet(np.ones(n_outputs)))
    probabilities = generator.dirichlet(np.ones(n_outputs), 500) * 0.6 + 0.4 * np.eye(n_outputs)[labels]
    metric = make_metric("f1_macro", n_outputs)
    scales = KIND.fit_decision(labels, probabilities, metric=metric)
    assert metric.score(labels, KIND.apply_decision(probabilities, scales)) >= metric.score(labels, probabilities)
    assert np.log(scales).mean() == pytest.approx(0, abs=1e-12)


def tuned(shift, *, seed, n_rows=1000):
    """Tune the decision on accuracy, for probabilities whose best threshold is 0.5 where `shift` is 1."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n_rows)
    second = shift / (1 + np.exp(-(generator.normal(size=n_rows) + 3 * labels - 1.5)))
    folds, metric = np.arange(n_rows)[None] % 5, make_metric("accuracy", 2)
    probabilities = np.stack([1 - second, second], axis=1)[None]
    return tune_decision(labels, probabilities, folds, clusters=np.arange(n_rows), metric=metric, seed=0, kind=KIND)


def test_a_wrong_threshold_is_mended():
    decision = tuned(0.4, seed=7)  # the argmax says no to everything
    assert decision.used and decision.gain > 0.4 and decision.scales[1] > 1.5


def test_a_right_threshold_is_mostly_left_alone():
    # One standard error lets through at most one chance gain in six.
    assert sum(tuned(1.0, seed=seed).used for seed in range(30)) <= 10


def test_scales_of_useless_probabilities_are_mostly_not_used():
    # Found and judged on the same rows they seem to gain 0.05 every time.
    metric, n_used = make_metric("f1_macro", 8), 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        labels, probabilities = generator.integers(0, 8, 240), generator.dirichlet(np.ones(8), (1, 240))
        options = {"clusters": np.arange(240), "kind": KIND, "metric": metric, "seed": 0}
        n_used += tune_decision(labels, probabilities, np.arange(240)[None] % 5, **options).used
    assert n_used <= 8


def test_a_plan_whose_decision_is_not_used_leaves_probabilities_alone():
    probabilities = np.array([[0.6, 0.4]])
    assert decide(probabilities, Plan(0, Decision(False, [1.0, 9.0], 0.0, 1.0)), kind=KIND) is probabilities
    assert decide(probabilities, Plan(0, Decision(True, [1.0, 9.0], 1.0, 0.1)), kind=KIND).argmax() == 1


def test_one_member_needs_no_ladder():
    gathered, ensemble = stacked(signals=(1.0,), rungs=("logistic", "greedy"), tune=False)
    assert list(ensemble.rungs) == ["mean"]
    assert ensemble.out_of_fold == pytest.approx(gathered.out_of_fold[:, :, 0])


def test_two_folds_leave_nothing_to_choose_on(caplog):
    _, ensemble = stacked(n_folds=2)
    assert (ensemble.chosen, ensemble.plan.decision) == ("mean", None)
    assert "two folds leave nothing to choose on" in caplog.text


def test_a_stacker_listed_twice_is_two_rungs():
    metric = make_metric("accuracy", 2)
    rungs = [Component(kind="stackers", name="logistic", options={"inverse_penalty": c}) for c in (0.01, 1.0)]
    ladder = build_ladder(rungs, metric=metric, seed=0)
    assert list(ladder) == ["logistic", "logistic-2"]
    assert ladder["logistic-2"]().inverse_penalty == 1.0


def test_the_hold_out_is_scored_once_and_changes_nothing():
    table, folds, members = competition(holdout=30)
    metric = make_metric("accuracy", 2)

    def run():
        gathered = gather_members(members, table=table, folds=folds, task="news")
        ladder = ladder_of("mean", "logistic", metric=metric)
        return gathered, build_ensemble(gathered, ladder=ladder, metric=metric, tune=True, seed=0)

    gathered, ensemble = run()
    holdout = described(gathered, ensemble)["holdout"]
    assert len(gathered.train.ids) == 210 and holdout["rows"] == 30
    assert holdout["score"] == metric.score(gathered.holdout.labels, ensemble.holdout) > 0.6
    table.rows["label"] = [
        {"no": "yes", "yes": "no"}[label] if row in gathered.holdout.ids else label
        for row, label in zip(table.rows["row_id"], table.rows["label"], strict=True)
    ]
    other, same = run()
    assert np.array_equal(same.out_of_fold, ensemble.out_of_fold) and np.array_equal(same.test, ensemble.test)
    assert described(other, same)["holdout"]["score"] == pytest.approx(1 - holdout["score"])


def test_the_ensemble_keeps_the_contract_of_predictions(tmp_path):
    gathered, ensemble = stacked(holdout=20)
    path = tmp_path / "out" / "stack" / "ensemble" / "news.parquet"
    write_predictions(ensemble_predictions(gathered, ensemble, manifest=DIGEST, seed=3), path)
    read = read_predictions(path, manifest=DIGEST)
    assert read.rows.groupby("split").size().to_dict() == {"holdout": 20, "oof": 440, "test": 40}
    assert set(read.rows.loc[read.rows["split"] != "oof", "fold"]) == {-1}
    assert (read.model, read.labels, read.recipe, read.seed) == ("ensemble", ["no", "yes"], "", 3)
    from pipeline.artifacts.predictions import probabilities_of

    final = probabilities_of(read, "oof", gathered.train.ids, kind=KIND)
    assert final == pytest.approx(ensemble.out_of_fold.mean(axis=0), abs=1e-6)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    contents = []
    for run in ("one", "two"):
        gathered, ensemble = stacked(rungs=("mean", "rank_mean", "greedy", "logistic", "lightgbm"), n_repeats=1)
        folder = tmp_path / run
        write_predictions(ensemble_predictions(gathered, ensemble, manifest=DIGEST, seed=0), folder / "e.parquet")
        write_json(folder / "state.json", ensemble.state(gathered))
        write_json(folder / "scores.json", {"tasks": {"news": described(gathered, ensemble)}})
        contents.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert len(contents[0]) == 6 and contents[0] == contents[1]


def test_the_state_on_disk_predicts_the_same(tmp_path):
    gathered, ensemble = stacked(rungs=("logistic",))
    write_json(tmp_path / "out" / "stack" / "news.json", ensemble.state(gathered))
    read = read_json(tmp_path / "out" / "stack" / "news.json")
    stacker = load("stackers", read["rung"])()
    stacker.load_state(read["state"])
    assert np.array_equal(
        decide(stacker.predict(gathered.test_probabilities), ensemble.plan, kind=gathered.kind), ensemble.test
    )


def test_scores_have_the_shape_that_the_report_reads():
    gathered, ensemble = stacked(holdout=20)
    scores = described(gathered, ensemble)
    assert set(scores) == {
        "metric", "higher_is_better", "labels", "n_train", "n_test", "n_scored", "models", "best_single", "baseline",
        "chosen", "estimate", "decision", "weights", "agreement", "confusion", "calibration", "hardest", "holdout",
    }  # fmt: skip
    assert set(scores["models"][0]) == {
        "name", "kind", "score", "folds", "mean", "std", "low", "high", "standard_error", "metrics", "gain",
    }  # fmt: skip
    assert set(scores["estimate"]) == {"score", "low", "high", "standard_error", "test_low", "test_high", "metrics"}
    assert [model["kind"] for model in scores["models"]] == ["encoder", "encoder", "baseline", "rung", "rung", "rung"]
    assert scores["best_single"] == "model0"
    assert next(m["gain"] for m in scores["models"] if m["name"] == "model0") is None
    assert scores["baseline"] == scores["models"][2]["score"]
    assert np.sum(scores["confusion"]) == scores["n_train"] == 220
    assert plot_tables({"news": scores})["confusion"].count("\n") == 1 + scores["n_train"]
    assert len(scores["hardest"]) == 20
    assert scores["estimate"]["test_low"] < scores["estimate"]["low"] < scores["estimate"]["score"]
    assert set(scores["weights"]["greedy"]) == {"model0", "model1", "model2"}
    json.dumps(scores, allow_nan=False)


def test_an_ensemble_of_unlike_members_beats_the_best_of_them():
    gathered, ensemble = stacked(n_rows=800, signals=(1.0, 1.0, 1.0, 1.0))
    scores = described(gathered, ensemble)
    best = max(model["score"] for model in scores["models"] if model["kind"] != "rung")
    assert scores["estimate"]["score"] > best + 0.03


@pytest.mark.parametrize(("scored_ratio", "n_scored", "wider"), [(1.0, 40, 1.0), (0.3, 12, np.sqrt(252 / 12 / 7))])
def test_the_fewer_rows_a_board_scores_the_wider_is_what_is_expected_there(scored_ratio, n_scored, wider):
    gathered, ensemble = stacked(n_repeats=1)  # 240 rows to train, 40 to predict
    scores = described(gathered, ensemble, scored_ratio=scored_ratio)
    whole = described(gathered, ensemble)["estimate"]
    assert (scores["n_test"], scores["n_scored"]) == (40, n_scored)
    score, low = scores["estimate"]["score"], scores["estimate"]["test_low"]
    assert score - low == pytest.approx(wider * (whole["score"] - whole["test_low"]))


def test_the_interval_of_a_log_loss_ends_at_zero_and_json_holds_no_infinity():
    gathered, ensemble = stacked(metric="log_loss", n_rows=60, n_test=5, signals=(9.0, 9.0), n_repeats=1)
    scores = described(gathered, ensemble, metric="log_loss", also=())
    assert scores["estimate"]["test_low"] == 0 < scores["estimate"]["test_high"]
    json.dumps(scores, allow_nan=False)


PARAMS = """
competition: small
augment: {}
training: {}
encoders: {unused: {source: from_config}}
stitch: {pairs: []}
submit: {}
seed: 5
tasks:
  news: {kind: binary, metric: f1_macro, report_metrics: [accuracy, auc], train: data/small/raw.csv, test: data/small/raw.csv}
baselines: {model0: tfidf_logistic, model1: tfidf_logistic, model2: tfidf_logistic}
stack: {members: [model0, model1, model2], n_bootstrap: 50}
folds: {near_duplicate_similarity: null}
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "data" / "small").mkdir(parents=True)
    (tmp_path / "data" / "small" / "raw.csv").touch()
    table, folds, members = competition(holdout=20)
    write_table(table)
    write_folds(folds.rows)
    digest = read_folds().digest
    for name, model in members.items():
        mine = Predictions(name, "news", model.labels, model.rows, model.logits, digest, "", 0)
        write_predictions(mine, predictions_path("baseline", name, "news"))
    return tmp_path


def test_the_stage_writes_everything_and_twice_the_same(repository):
    contents = []
    for _ in range(2):
        main()
        written = [SCORES, METRICS, OUT / "stack" / "news.json"]
        written += [predictions_path("stack", "ensemble", "news")]
        written += [PLOTS / f"{name}.csv" for name in ("confusion", "calibration", "scores")]
        contents.append([path.read_bytes() for path in written])
    assert contents[0] == contents[1]
    scores, metrics = read_json(SCORES)["tasks"]["news"], read_json(METRICS)
    assert scores["metric"] == "f1_macro" and scores["holdout"]["rows"] == 20
    assert {model["kind"] for model in scores["models"]} == {"baseline", "rung"}
    assert scores["stitching"] is None
    assert metrics["out_of_fold"] == metrics["tasks"]["news"]["f1_macro"] == scores["estimate"]["score"]


def test_the_stage_refuses_members_made_from_other_folds(repository, capsys):
    folds = read_folds().rows
    write_folds(folds.sample(frac=1, random_state=0, ignore_index=True))
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 3
    assert "was made from the fold manifest" in capsys.readouterr().err
    assert not METRICS.exists()
