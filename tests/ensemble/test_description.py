"""What scores.json says of a task: its form, what is expected on the test rows, and gains like with like."""

import json

import numpy as np
import pytest

from pipeline.ensemble.intervals import NORMAL_QUANTILE, UNCERTAIN
from pipeline.ensemble.scoring import plot_tables
from tests.ensembles import described, stacked


def test_scores_have_the_shape_that_the_report_reads():
    gathered, ensemble = stacked(holdout=20)
    scores = described(gathered, ensemble)
    assert set(scores) == {
        "metric", "higher_is_better", "labels", "n_train", "n_test", "n_scored", "models", "best_single", "baseline",
        "chosen", "estimate", "decision", "weights", "agreement", "confusion", "calibration", "hardest", "holdout",
        "gain", "twins", "label_shift",
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


@pytest.mark.parametrize(("scored_ratio", "n_scored"), [(1.0, 40), (0.3, 12)])
def test_what_is_expected_is_known_the_less_the_fewer_rows_a_board_scores_and_the_more_it_adds(scored_ratio, n_scored):
    scores = described(*stacked(n_repeats=1), scored_ratio=scored_ratio)  # 240 rows to train, 40 to predict
    assert (scores["n_test"], scores["n_scored"]) == (40, n_scored)
    estimate = scores["estimate"]
    sampling, adding = estimate["standard_error"] * np.sqrt(1 + 240 / n_scored), UNCERTAIN * estimate["averaging"]
    half = NORMAL_QUANTILE * np.hypot(sampling, adding)
    assert estimate["averaging"] > 0 and estimate["test_high"] == min(1, estimate["expected"] + half)
    assert estimate["test_low"] == pytest.approx(estimate["expected"] - half)


def test_the_interval_of_a_log_loss_ends_at_zero_and_json_holds_no_infinity():
    gathered, ensemble = stacked(metric="log_loss", n_rows=60, n_test=5, signals=(9.0, 9.0), n_repeats=1)
    scores = described(gathered, ensemble, metric="log_loss", also=())
    assert scores["estimate"]["test_low"] == 0 < scores["estimate"]["test_high"]
    json.dumps(scores, allow_nan=False)
