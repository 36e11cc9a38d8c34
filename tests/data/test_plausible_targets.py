"""What test rows may be: as often right as out-of-fold, in the expected shares, a twin's label as often as twins agree."""

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.data.plausible_targets import calibration, plausible_labels
from tests.ensembles import simulate


def example(**options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels (N,), out-of-fold probabilities (N, C), and those of test rows by fold (K, S, C)."""
    settings = {"n_rows": 2000, "n_test": 1500, "n_outputs": 3, "fold_noise": 1.0, "shares": [0.6, 0.3, 0.1]}
    members, _ = simulate({"a": 1.5}, **{**settings, **options})
    candidate = members.candidate("a")
    return members.train.labels, candidate.out_of_fold, candidate.by_fold


def weights_of(labels: np.ndarray, out_of_fold: np.ndarray, by_fold: np.ndarray, **options: Any) -> np.ndarray:
    twins = np.full(by_fold.shape[1], -1)
    weights = plausible_labels(labels, out_of_fold, by_fold, **{"twins": twins, "agreement": 0.9, **options})
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights >= 0).all()
    return weights


@pytest.mark.parametrize("fold_noise", [0.3, 1.0, 2.0])
def test_single_fold_models_are_as_often_right_as_out_of_fold_and_labels_keep_their_shares(fold_noise: float) -> None:
    labels, out_of_fold, by_fold = example(fold_noise=fold_noise)
    weights = weights_of(labels, out_of_fold, by_fold)
    right = np.take_along_axis(weights[None], by_fold.argmax(axis=2)[..., None], axis=2).mean()
    assert right == pytest.approx((out_of_fold.argmax(axis=1) == labels).mean(), abs=0.002)
    slope, biases = calibration(labels, out_of_fold)
    expected = softmax(slope * np.log(by_fold) + biases, axis=2).mean(axis=(0, 1))
    np.testing.assert_allclose(weights.mean(axis=0), expected, atol=0.002)
    np.testing.assert_allclose(expected, [0.6, 0.3, 0.1], atol=0.05)


def test_the_labels_drawn_as_they_are_likely_are_as_good_as_the_true_ones() -> None:
    """Where three in four fold models say the same the weights say how often that is right, which no training row tells."""
    members, truth = simulate({"a": 1.5}, n_rows=4000, n_test=2000, n_outputs=2, fold_noise=1.5)
    candidate = members.candidate("a")
    weights = weights_of(members.train.labels, candidate.out_of_fold, candidate.by_fold)
    agreeing = (candidate.by_fold.argmax(axis=2) == 1).sum(axis=0)
    for number in range(5):
        rows = agreeing == number
        assert rows.sum() > 100
        assert weights[rows, 1].mean() == pytest.approx((truth[rows] == 1).mean(), abs=0.08)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_calibration_finds_how_much_too_sure_probabilities_are(power: float) -> None:
    generator = np.random.default_rng(0)
    true = softmax(generator.normal(size=(20_000, 3)) * 1.5 + [0.5, 0.0, -0.5], axis=1)
    labels = (generator.random((20_000, 1)) > true.cumsum(axis=1)).sum(axis=1)
    said = true**power / (true**power).sum(axis=1, keepdims=True)
    slope, biases = calibration(labels, said)
    assert slope == pytest.approx(1 / power, rel=0.05)
    np.testing.assert_allclose(biases - biases.mean(), 0, atol=0.06)


def test_calibration_finds_labels_that_come_more_often_than_they_are_said_to() -> None:
    generator = np.random.default_rng(1)
    said = softmax(generator.normal(size=(20_000, 2)), axis=1)
    true = said * [1.0, 3.0] / (said * [1.0, 3.0]).sum(axis=1, keepdims=True)
    labels = (generator.random(20_000) < true[:, 1]).astype(int)
    _, biases = calibration(labels, said)
    assert biases[1] - biases[0] == pytest.approx(np.log(3), abs=0.1)


@pytest.mark.parametrize("agreement", [1.0, 0.7])
def test_a_row_with_a_twin_has_its_label_as_often_as_twins_agree(agreement: float) -> None:
    labels, out_of_fold, by_fold = example()
    twins = np.where(np.arange(by_fold.shape[1]) % 3 == 0, np.arange(by_fold.shape[1]) % len(labels), -1)
    has_twin = twins >= 0
    weights = weights_of(labels, out_of_fold, by_fold, twins=twins, agreement=agreement)
    of_twins, (slope, biases) = np.eye(3)[labels[twins[has_twin]]], calibration(labels, out_of_fold)
    said = np.log(softmax(slope * np.log(by_fold[:, has_twin]) + biases, axis=2)).mean(axis=0)
    others = softmax(np.where(of_twins == 1, -np.inf, said), axis=1)
    np.testing.assert_allclose(weights[has_twin], agreement * of_twins + (1 - agreement) * others, atol=1e-5)
    # The others are weighted as if those with a twin were not there.
    alone = weights_of(labels, out_of_fold, by_fold[:, ~has_twin])
    np.testing.assert_allclose(weights[~has_twin], alone, atol=1e-9)


def test_one_fold_model_tells_as_much_as_it_knows() -> None:
    labels, out_of_fold, by_fold = example(fold_noise=0.0)
    one, same = (weights_of(labels, out_of_fold, by_fold[:number]) for number in (1, 4))
    np.testing.assert_allclose(one, same, atol=1e-6)


def test_certain_probabilities_absent_labels_and_no_rows_are_no_error() -> None:
    labels, out_of_fold, by_fold = example(n_rows=300, n_test=60)
    certain, sure = (np.eye(3)[values.argmax(axis=-1)] for values in (out_of_fold, by_fold))
    for rows in (out_of_fold, certain, np.eye(3)[labels], np.eye(3)[(labels + 1) % 3]):
        for tests in (by_fold, sure, by_fold[:, :0], by_fold[:, :1]):
            assert weights_of(labels, rows, tests).shape == tests.shape[1:]
            assert np.isfinite(weights_of(labels % 2, rows, tests)).all()  # the last label does not occur
            assert np.isfinite(weights_of(np.zeros_like(labels), rows, tests)).all()
    rare = weights_of(labels % 2, out_of_fold, by_fold)[:, 2]
    assert rare.mean() < 0.02
