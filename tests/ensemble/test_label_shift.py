"""A shift of labels is found by what models predict; where there is none, alarms are as rare as their p-value says."""

import numpy as np
import pytest

from pipeline.artifacts.scores import LabelShift
from pipeline.ensemble.label_shift import label_shift

N_FOLDS = 5


def _shift(seed: int, *, n_rows: int = 600, n_test: int = 400, moved: float = 0.0, n_labels: int = 3) -> LabelShift:
    """Return the test for nearest-mean models, fitted fold by fold on labels of which the first comes more often in test."""
    generator = np.random.default_rng(seed)
    shares = np.arange(1, n_labels + 1) / np.arange(1, n_labels + 1).sum()
    sides = [generator.choice(n_labels, n, p=p) for n, p in ((n_rows, shares), (n_test, _moved(shares, moved)))]
    centers = generator.normal(size=(n_labels, 8))
    features, test_features = (centers[labels] + generator.normal(size=(len(labels), 8)) for labels in sides)
    labels, fold = sides[0], generator.permutation(n_rows) % N_FOLDS
    out_of_fold, test = np.empty(n_rows, int), []
    for number in range(N_FOLDS):
        means = np.stack([features[(fold != number) & (labels == label)].mean(axis=0) for label in range(n_labels)])
        out_of_fold[fold == number] = _nearest(features[fold == number], means)
        test.append(_nearest(test_features, means))
    found = label_shift(out_of_fold, np.stack(test), labels=[str(label) for label in range(n_labels)])
    assert found is not None
    return found


def _moved(shares: np.ndarray, by: float) -> np.ndarray:
    return (shares + by * np.eye(len(shares))[0]) / (1 + by)


def _nearest(features: np.ndarray, means: np.ndarray) -> np.ndarray:
    return ((features[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)


def test_without_a_shift_alarms_are_as_rare_as_they_claim() -> None:
    p_values = np.array([_shift(seed)["p_value"] for seed in range(300)])
    assert (p_values < 0.01).mean() <= 0.03 and 0.01 <= (p_values < 0.05).mean() <= 0.09


def test_a_planted_shift_is_found_in_most_cases_and_its_label_is_named() -> None:
    found = [_shift(seed, moved=0.2) for seed in range(50)]
    assert np.mean([shift["p_value"] < 0.01 for shift in found]) > 0.9
    gains = np.mean([[test - out_of_fold for out_of_fold, test in shift["labels"].values()] for shift in found], axis=0)
    assert gains[0] > 0.08 and (gains[1:] < 0).all()


def test_shares_are_those_of_the_predictions_each_test_row_by_one_model_in_turns() -> None:
    test = np.array([[0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])  # rows 0, 2 and 4 by the first model
    shift = label_shift(np.repeat([0, 1], [30, 10]), np.tile(test, 8), labels=["a", "b"])
    assert shift is not None and shift["labels"] == {"a": [0.75, 0.5], "b": [0.25, 0.5]}


@pytest.mark.parametrize(
    ("out_of_fold", "test"),
    [([0] * 50, [[0] * 50]), ([0, 1] * 30, [[]]), ([0, 1], [[1, 0]])],
    ids=["one-label", "no-test-rows", "few-rows"],
)
def test_where_nothing_can_be_compared_nothing_is_said(out_of_fold: list[int], test: list[list[int]]) -> None:
    assert label_shift(np.array(out_of_fold), np.array(test, int), labels=["a", "b", "c"]) is None


def test_rare_labels_count_together() -> None:
    """Twenty labels of two rows each say nothing one by one; together they are a tenth here and a third there."""
    counts, test_counts = [360, *[2] * 20], [80, *[2] * 20]
    sides = [np.repeat(np.arange(21), part) for part in (counts, test_counts)]
    shift = label_shift(sides[0], sides[1][None], labels=[str(label) for label in range(21)])
    assert shift is not None and shift["p_value"] < 1e-4
