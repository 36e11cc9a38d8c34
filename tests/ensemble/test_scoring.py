"""A model's record and the diagnostics, against what can be worked out."""

import csv

import numpy as np
import pytest

from pipeline.data.class_targets import calibration_bins, confusion
from pipeline.ensemble import averaging
from pipeline.ensemble.forms import WithinFolds
from pipeline.ensemble.scoring import error_agreement, plot_tables, score_models
from tests.ensemble.test_intervals import right_with
from tests.small import make_metric


def test_models_that_err_on_the_same_rows_agree():
    labels = np.array([0, 0, 1, 1])
    right, wrong = np.eye(2)[labels], np.eye(2)[1 - labels]
    half, other = right.copy(), right.copy()
    half[:2], other[2:] = wrong[:2], wrong[2:]
    assert error_agreement([(model.argmax(axis=1) != labels).astype(float) for model in (half, half, other, right)]) == [
        [1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 1],
    ]  # fmt: skip


def test_calibration_bins_hold_every_row_once():
    labels, probabilities = np.array([0, 1, 1]), np.array([[1.0, 0.0], [0.45, 0.55], [0.6, 0.4]])
    bins = calibration_bins(labels, probabilities)
    assert [part["rows"] for part in bins] == [0, 0, 0, 0, 0, 1, 1, 0, 0, 1]
    assert bins[9]["accuracy"] == 1 and bins[6]["accuracy"] == 0 and bins[0]["confidence"] is None


def test_a_record_scores_the_mean_of_the_repeats_and_every_fold_of_each():
    labels, probabilities = right_with(0.7, 60, 6)
    other = right_with(0.7, 60, 7)[1]
    models = [np.stack([probabilities, other]), np.stack([np.eye(2)[labels]] * 2)]
    folds = np.stack([np.arange(60) % 3, np.arange(60) // 20])
    metric = make_metric("log_loss", 2)
    records = score_models(
        labels, models, folds=folds, clusters=np.arange(60), metric=metric, scorer=metric,
        report_metrics={"accuracy": make_metric("accuracy", 2)}, reference=0, bounds=(None, None), n_resamples=100, seed=0,
        on_test=[averaging.GainOnTest(-0.03), averaging.GainOnTest(-0.01, twins=-0.02)],
    )  # fmt: skip
    assert records[0]["score"] == metric.score(labels, (probabilities + other) / 2)
    assert records[0]["folds"][1][2] == metric.score(labels[40:], other[40:])
    assert np.shape(records[0]["folds"]) == (2, 3)
    assert records[0]["gain"] is None
    # Lower is better: positive. Both gain as much on the test rows.
    assert records[1]["gain"]["value"] == pytest.approx(records[0]["score"], abs=1e-6)
    assert [record["averaging"] for record in records] == [-0.03, -0.01]
    assert records[1]["gain"]["low"] > 0
    assert records[1]["metrics"] == {"accuracy": 1.0}


def test_confusion_counts_true_labels_by_row():
    assert confusion(np.array([0, 0, 1]), np.array([1, 1, 1]), n_outputs=2).tolist() == [[0, 2], [0, 1]]


def test_the_confusion_csv_has_a_line_per_row_and_survives_commas_in_labels():
    scores = {
        "labels": ["a,b", "c"], "confusion": [[2, 1], [0, 3]], "models": [],
        "calibration": calibration_bins(np.array([0]), np.array([[0.7, 0.3]])),
        "estimate": {"score": 0.8, "low": 0.7, "high": 0.9},
    }  # fmt: skip
    tables = {name: list(csv.DictReader(text.splitlines())) for name, text in plot_tables({"news": scores}).items()}
    assert len(tables["confusion"]) == 6
    assert tables["confusion"][2] == {"task": "news", "actual": "a,b", "predicted": "c"}
    assert tables["calibration"] == [{"task": "news", "confidence": "0.7", "accuracy": "1.0", "rows": "1"}]
    assert tables["scores"] == [{"task": "news", "model": "ensemble", "score": "0.8", "low": "0.7", "high": "0.9"}]


def test_the_order_of_rows_is_scored_within_folds() -> None:
    """Two models of other scales rank their own rows rightly; together they would seem to fail."""
    labels, folds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    second = np.array([0.1, 0.2, 0.8, 0.9])
    probabilities, metric = np.stack([1 - second, second], axis=1), make_metric("auc", 2)
    within = WithinFolds(metric, folds)
    assert metric.score(labels, probabilities) == 0.75 and within.score(labels, probabilities) == 1.0
    # A fold without one of the labels has no score; it leaves the mean to the others.
    weights = np.array([[1.0, 1, 1, 0], [0, 1, 0, 1]])
    scores = within.resampled(labels, probabilities, weights)
    assert scores[0] == 1.0 and np.isnan(scores[1])
