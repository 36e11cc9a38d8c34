"""Thresholds: found by trying all, per label, never on few rows; the quick way by counts equals the slow way by rows."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline import components
from pipeline.contracts import Metric
from pipeline.data.task_kinds.multilabel import Multilabel
from pipeline.targets.thresholds import THRESHOLDS, best_thresholds


def example(n_rows: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and probabilities (N, 3), calibrated; the last label is on 10 rows."""
    generator = np.random.default_rng(0)
    values = generator.beta(0.6, [1.0, 3.0, 3.0], (n_rows, 3))
    targets = (generator.random(values.shape) < values).astype(np.int8)
    targets[:, 2] = np.arange(n_rows) < 10
    return targets, values


def metric_of(name: str) -> Metric:
    metric: Metric = components.build("metrics", name, n_outputs=3, decide=Multilabel().decide)
    return metric


def test_macro_f1_gets_the_best_threshold_of_each_label_and_few_rows_keep_one_half() -> None:
    targets, values = example()
    found = best_thresholds(targets, values, fewest=20, metric=metric_of("f1_macro"))
    for label in (0, 1):
        said = values[:, label] >= THRESHOLDS[:, None]
        right = (said & (targets[:, label] > 0)).sum(axis=1)
        f1 = 2 * right / (said.sum(axis=1) + targets[:, label].sum())
        assert f1[found[label] == THRESHOLDS] == f1.max()
    assert found[2] == 0.5 and found[1] < 0.5


@pytest.mark.parametrize("name", ["f1_macro", "f1_micro", "f1_weighted"])
def test_counting_labels_finds_what_looking_at_every_row_finds(name: str) -> None:
    targets, values = example(300)
    metric = metric_of(name)
    slow = replace(metric)
    slow.of_counts = False
    quick, careful = (best_thresholds(targets, values, fewest=5, metric=part) for part in (metric, slow))
    np.testing.assert_array_equal(quick, careful)


def test_a_metric_of_rows_gains_by_its_thresholds() -> None:
    targets, values = example()
    kind, metric = Multilabel(), metric_of("f1_samples")
    tuned = kind.apply_decision(values, kind.fit_decision(targets, values, metric=metric))
    assert metric.score(targets, tuned) > metric.score(targets, values) + 0.02


def test_a_decided_value_lies_at_one_half_and_rows_keep_their_order() -> None:
    values = np.array([[0.2, 0.2], [0.3, 0.3]])
    moved = Multilabel().apply_decision(values, [0.2, 0.5])
    assert moved[0, 0] == pytest.approx(0.5) and (np.diff(moved, axis=0) > 0).all()
    np.testing.assert_allclose(moved[:, 1], values[:, 1])
