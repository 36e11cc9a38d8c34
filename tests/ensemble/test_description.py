"""What scores.json says of a task: its form, what is expected on the test rows, and gains like with like."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline import components
from pipeline.ensemble.averaging import gain_on_test
from pipeline.ensemble.decisions import Decision, Plan, cross_fit_best
from pipeline.ensemble.description import FITTED, FITTED_DECISION, FITTED_GAIN
from pipeline.ensemble.forms import WithinFolds
from pipeline.ensemble.intervals import NORMAL_QUANTILE, UNCERTAIN, compare
from pipeline.ensemble.scoring import plot_tables
from pipeline.ensemble.stacking import build_ensemble
from pipeline.reproducibility import derive_seed
from tests.ensembles import described, settings, simulate, stacked
from tests.small import make_metric


def test_scores_have_the_shape_that_the_report_reads():
    gathered, ensemble = stacked(holdout=20)
    scores = described(gathered, ensemble)
    assert set(scores) == {
        "metric", "higher_is_better", "labels", "n_train", "n_test", "n_scored", "models", "best_single", "baseline",
        "chosen", "estimate", "decision", "weights", "agreement", "confusion", "calibration", "hardest", "holdout",
        "gain", "twins", "label_shift", "effective_rows",
    }  # fmt: skip
    assert set(scores["models"][0]) == {
        "name", "kind", "score", "folds", "mean", "std", "low", "high", "standard_error", "metrics", "gain",
        "averaging", "expected",
    }  # fmt: skip
    assert set(scores["estimate"]) == {
        "score", "low", "high", "standard_error", "averaging", "twins", "expected", "test_low", "test_high", "metrics",
        "unweighted",
    }  # fmt: skip
    assert set(scores["holdout"]) == {"rows", "score", "low", "high", "averaging"}
    assert set(scores["gain"]) == set(scores["holdout"]["averaging"]) == {"value", "low", "high", "standard_error"}
    assert [model["kind"] for model in scores["models"]] == ["encoder", "encoder", "baseline", "rung", "rung", "rung"]
    assert scores["best_single"] == "model0"
    assert next(m["gain"] for m in scores["models"] if m["name"] == "model0") is None
    assert scores["baseline"] == scores["models"][2]["score"]
    assert np.sum(scores["confusion"]) == scores["n_train"] == 220
    assert plot_tables({"news": scores})["confusion"].count("\n") == 1 + scores["n_train"]
    assert len(scores["hardest"]) == 20
    estimate = scores["estimate"]
    assert estimate["low"] < estimate["score"] < estimate["expected"] <= estimate["test_high"]
    assert estimate["expected"] == estimate["score"] + estimate["averaging"] and estimate["twins"] == 0
    assert set(scores["weights"]["greedy"]) == {"model0", "model1", "model2"}
    json.dumps(scores, allow_nan=False)


def test_an_ensemble_of_unlike_members_beats_the_best_of_them():
    gathered, ensemble = stacked(n_rows=800, signals=(1.0, 1.0, 1.0, 1.0))
    scores = described(gathered, ensemble)
    best = max(model["score"] for model in scores["models"] if model["kind"] != "rung")
    assert scores["estimate"]["score"] > best + 0.03


@pytest.mark.parametrize(("scored_ratio", "n_scored"), [(1.0, 40), (0.3, 12), (0.001, 1)])
def test_what_is_expected_is_known_the_less_the_fewer_rows_a_board_scores_and_the_more_it_adds(scored_ratio, n_scored):
    scores = described(*stacked(n_repeats=1), scored_ratio=scored_ratio)  # 240 rows to train, 40 to predict
    assert (scores["n_test"], scores["n_scored"]) == (40, n_scored)
    estimate = scores["estimate"]
    sampling = FITTED * estimate["standard_error"] * np.sqrt(1 + 240 / n_scored)
    adding = UNCERTAIN * estimate["averaging"]
    half, expected = NORMAL_QUANTILE * np.hypot(sampling, adding), estimate["score"] + estimate["averaging"]
    assert estimate["averaging"] > 0 and expected > 1 and estimate["expected"] == estimate["test_high"] == 1
    assert estimate["test_low"] == pytest.approx(expected - half)


def test_where_scales_are_used_the_interval_is_wider_for_what_they_were_fitted_on():
    members, _ = simulate({"a": 1.0, "b": 0.8}, n_test=300)
    ensemble = build_ensemble(members, **settings("mean", metric="f1_macro"))
    widths = {}
    for used, factor in ((False, FITTED), (True, FITTED_DECISION)):
        plan = Plan(ensemble.plan.rung, Decision(used, [1.0, 1.0], 0.0, 0.0))
        estimate = described(members, replace(ensemble, plan=plan), metric="f1_macro", also=())["estimate"]
        error = factor * estimate["standard_error"] * np.sqrt(1 + len(members.train.ids) / 300)
        half = NORMAL_QUANTILE * np.hypot(error, UNCERTAIN * estimate["averaging"])
        assert estimate["test_high"] - estimate["expected"] == pytest.approx(half)
        widths[used] = half
    assert widths[True] > widths[False]


def test_a_metric_of_the_order_of_rows_is_scored_within_folds():
    members, _ = simulate({"a": 1.0, "b": 0.8})
    metric = make_metric("auc", 2)
    ensemble = build_ensemble(members, **settings("mean", metric="auc"))
    within = WithinFolds(metric, members.folds[0])
    said, final = described(members, ensemble, metric="auc", also=()), ensemble.out_of_fold.mean(axis=0)
    assert said["estimate"]["score"] == within.score(members.train.labels, final)
    assert said["estimate"]["score"] != metric.score(members.train.labels, final)
    plain = described(members, ensemble, metric="accuracy", also=())
    assert plain["estimate"]["score"] == make_metric("accuracy", 2).score(members.train.labels, final)


def test_the_interval_of_a_log_loss_ends_at_zero_and_json_holds_no_infinity():
    gathered, ensemble = stacked(metric="log_loss", n_rows=60, n_test=5, signals=(9.0, 9.0), n_repeats=1)
    scores = described(gathered, ensemble, metric="log_loss", also=())
    assert scores["estimate"]["test_low"] == 0 < scores["estimate"]["test_high"]
    json.dumps(scores, allow_nan=False)


@pytest.mark.parametrize("metric", ["auc", "accuracy", "mcc"])
def test_with_few_test_rows_no_number_of_the_scores_lies_beyond_the_metric(metric):
    """An interval for AUC went from -1.42 to 2.54."""
    members, _ = simulate({"a": 3.0, "b": 2.5, "c": 0.2}, n_rows=24, n_test=2, fold_noise=2.0, holdout=6)
    ensemble = build_ensemble(members, **settings("mean", "greedy", metric=metric))
    scores = described(members, ensemble, metric=metric, also=())
    low, high = components.constant("metrics", metric, "BOUNDS")
    known = [scores["estimate"][key] for key in ("score", "low", "high", "expected", "test_low", "test_high")]
    known += [record[key] for record in [*scores["models"], scores["holdout"]] for key in ("score", "low", "high")]
    known += [model["expected"] for model in scores["models"]]
    assert low <= np.nanmin(known) <= np.nanmax(known) <= high
    gains = [scores["gain"], *(model["gain"] for model in scores["models"] if model["gain"])]
    assert all(abs(gain[key]) <= high - low for gain in gains for key in ("value", "low", "high"))
    for gain, model in ((model["gain"], model) for model in scores["models"] if model["gain"]):
        best = next(model["expected"] for model in scores["models"] if model["name"] == scores["best_single"])
        assert gain["value"] == pytest.approx(model["expected"] - best)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_gain_over_the_best_single_model_is_nested_and_counts_averaging_on_both_sides(metric):
    members, _ = simulate({"a": 1.2, "b": 1.1, "c": 1.0}, n_repeats=2, n_test=800, holdout=100)
    options = settings("mean", "logistic", metric=metric)
    ensemble, built = build_ensemble(members, **options), options["metric"]
    said = described(members, ensemble, metric=metric, also=())
    singles = [members.out_of_fold[:, :, position] for position in range(3)]
    single = cross_fit_best(members.train.labels, singles, members.folds, metric=built).mean(axis=0)
    both = [built.score(members.train.labels, values) for values in (ensemble.out_of_fold.mean(axis=0), single)]
    candidates = (ensemble.submitted(members), members.candidate(said["best_single"]))
    more = [gain_on_test(one, members, metric=built).value for one in candidates]
    value = built.sign * (both[0] + more[0] - both[1] - more[1])
    assert said["gain"]["value"] == pytest.approx(value)
    # The draws do not choose the single model anew: the interval is wider than they say.
    n_draws = {"n_resamples": 100, "seed": derive_seed(0, members.task)}
    blends = {"ensemble": ensemble.out_of_fold.mean(axis=0), "single": single}
    on_test = dict(zip(blends, more, strict=True))
    drawn = compare(
        members.train.labels, blends, metric=built, clusters=members.train.clusters, on_test=on_test, **n_draws
    )
    widened = FITTED_GAIN * drawn.gain("ensemble", "single").standard_error
    assert said["gain"]["standard_error"] == pytest.approx(widened)
    if metric == "log_loss":  # averaging does more for the single one: the ensemble is an average already
        assert more[1] < more[0] < 0 < said["gain"]["value"] < both[1] - both[0]
    assert said["estimate"]["averaging"] == more[0]
    averaging = {model["name"]: model["averaging"] for model in said["models"]}
    assert averaging[said["best_single"]] == more[1]


def test_what_averaging_gains_is_checked_on_the_hold_out():
    members, _ = simulate({"a": 1.5, "b": 1.0}, n_rows=1500, n_test=1500, holdout=1500, fold_noise=1.5)
    options = settings("mean", "logistic", metric="f1_macro", tune_above=0.0)
    ensemble, score = build_ensemble(members, **options), options["metric"].score
    said = described(members, ensemble, metric="f1_macro", also=())
    labels = members.holdout.labels
    single = [
        score(labels, ensemble.decided(members, values, fold=fold))
        for fold, values in enumerate(members.holdout_by_fold)
    ]
    gained = said["holdout"]["averaging"]
    assert gained["value"] == pytest.approx(score(labels, ensemble.holdout) - np.mean(single))
    assert gained["low"] > 0 and gained["value"] == pytest.approx(said["estimate"]["averaging"], abs=0.02)


def test_the_gain_of_one_member_over_itself_is_not_spoken_of():
    assert described(*stacked(signals=(1.0,)))["gain"] is None


def test_where_test_rows_are_of_another_kind_training_rows_like_them_count_more():
    members, _ = simulate({"a": 1.0, "b": 1.0}, n_rows=800, n_test=200)
    wrong = (members.out_of_fold[0].mean(axis=1).argmax(axis=1) != members.train.labels).astype(float)
    harder = replace(members, weights=(1 + 3 * wrong) / (1 + 3 * wrong).mean())
    options = settings("mean")
    both = [described(each, build_ensemble(each, **options)) for each in (members, harder)]
    assert both[0]["effective_rows"] is None and both[1]["effective_rows"] < 800
    plain, said = (each["estimate"] for each in both)
    assert plain["unweighted"] is None
    assert said["unweighted"] == {key: plain[key] for key in ("expected", "test_low", "test_high")}
    assert all(said[key] == plain[key] for key in ("score", "low", "high", "averaging", "metrics"))
    accuracy = np.average(1 - wrong, weights=harder.weights)
    assert said["expected"] == pytest.approx(accuracy + plain["averaging"])
    assert said["test_high"] - said["test_low"] > plain["test_high"] - plain["test_low"]


def test_test_rows_with_a_twin_are_counted_and_change_what_is_expected():
    members, _ = simulate({"a": 1.0, "b": 1.0}, n_rows=800, n_test=300)
    twins = np.where(np.arange(300) < 100, np.arange(300), -1)
    known = np.eye(2)[members.train.labels[:100]][:, None] * 0.8 + 0.1
    for values in (*members.sampled_by_fold, members.test_probabilities):
        values[:100] = known
    members = replace(members, twins=twins, agreement=1.0)
    said = described(members, build_ensemble(members, **settings("mean")))
    estimate = said["estimate"]
    assert said["twins"] == 100 and estimate["twins"] > 0.02
    assert estimate["expected"] == pytest.approx(estimate["score"] + estimate["averaging"] + estimate["twins"])


def test_a_label_predicted_more_often_of_test_rows_is_told_untuned():
    members, _ = simulate({"a": 2.0, "b": 2.0}, n_rows=1000, n_test=600, shares=[0.5, 0.5])
    assert described(members, build_ensemble(members, **settings("mean")))["label_shift"]["p_value"] > 0.01
    tilted = [values * [1, 4] / (values * [1, 4]).sum(axis=-1, keepdims=True) for values in members.sampled_by_fold]
    moved = replace(members, sampled_by_fold=np.stack(tilted))
    shift = described(moved, build_ensemble(moved, **settings("mean")))["label_shift"]
    assert shift["p_value"] < 1e-3 and shift["labels"]["1"][1] > shift["labels"]["1"][0] + 0.05


def test_without_test_rows_nothing_is_expected_of_them():
    for rungs in (("mean", "rank_mean"), ("lightgbm",), ("logistic",), ("greedy",)):
        members, ensemble = stacked(n_test=0, rungs=rungs)
        said = described(members, ensemble)
        assert said["n_test"] == 0 and said["label_shift"] is None and np.isnan(said["estimate"]["test_low"])
        assert said["estimate"]["averaging"] == 0
