"""Linear models of features: equal to scikit-learn's, whatever form targets have, and what is tried of the layers."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from pipeline.experiments.layer_features import (
    INVERSE_PENALTIES,
    LayerVectors,
    best_penalty,
    candidates,
    fit_and_predict,
    loss,
)
from pipeline.models.token_states import MeanPooling

GENERATOR = np.random.default_rng(0)
FITTED, SCORED = GENERATOR.normal(3.0, 2.0, (80, 5)), GENERATOR.normal(3.0, 2.0, (20, 5))


def standardised(rows: np.ndarray) -> np.ndarray:
    return (rows - FITTED.mean(axis=0)) / FITTED.std(axis=0)  # of the rows that are fitted


def test_classes_are_told_by_a_logistic_regression_and_absent_ones_are_unlikely() -> None:
    labels = np.where(FITTED[:, 0] > 3, 2, 0)
    values = fit_and_predict(FITTED, labels, SCORED, n_values=3, inverse_penalty=0.1)
    model = LogisticRegression(C=0.1, max_iter=100).fit(standardised(FITTED), labels)
    assert values[:, [0, 2]] == pytest.approx(model.predict_proba(standardised(SCORED)), abs=1e-5)
    assert (values[:, 1] < 1e-5).all() and values.sum(axis=1) == pytest.approx(1)


def test_several_labels_have_a_regression_each_also_where_none_or_all_rows_have_one() -> None:
    labels = np.stack([FITTED[:, 0] > 3, np.zeros(80), np.ones(80)], axis=1).astype(np.int8)
    values = fit_and_predict(FITTED, labels, SCORED, n_values=3, inverse_penalty=0.1)
    model = LogisticRegression(C=0.1, max_iter=100).fit(standardised(FITTED), labels[:, 0])
    assert values[:, 0] == pytest.approx(model.predict_proba(standardised(SCORED))[:, 1], abs=1e-5)
    assert (values[:, 1] < 1e-5).all() and (values[:, 2] > 1 - 1e-5).all()


def test_numbers_are_told_by_a_ridge_regression_each_on_the_rows_that_have_one() -> None:
    numbers = np.stack([FITTED @ np.arange(5), FITTED[:, 0], np.full(80, np.nan)], axis=1)
    numbers[::3, 1] = np.nan
    values = fit_and_predict(FITTED, numbers, SCORED, n_values=3, inverse_penalty=0.1)
    assert values[:, 0] == pytest.approx(
        Ridge(40).fit(standardised(FITTED), numbers[:, 0]).predict(standardised(SCORED))
    )
    known = ~np.isnan(numbers[:, 1])
    scaler = StandardScaler().fit(FITTED[known])
    model = Ridge(40).fit(scaler.transform(FITTED[known]), numbers[known, 1])
    assert values[:, 1] == pytest.approx(model.predict(scaler.transform(SCORED)))
    assert (values[:, 2] == 0).all()


def test_one_class_alone_is_said_of_every_row() -> None:
    values = fit_and_predict(FITTED, np.ones(80, int), SCORED, n_values=2, inverse_penalty=0.1)
    assert (values[:, 1] > 1 - 1e-5).all()


def test_layers_and_mixes_are_those_of_the_vectors() -> None:
    vectors = GENERATOR.normal(size=(3, 7, 2))
    tried = {name: taken(vectors) for name, taken in candidates(7).items()}
    assert list(tried)[:2] == ["embeddings", "layer 1"] and len(tried) == 7 + 3
    assert np.array_equal(tried["layer 6"], vectors[:, 6])
    assert tried["mean of the last four"] == pytest.approx(vectors[:, 3:].mean(axis=1))
    assert np.array_equal(tried["last four side by side"][0], vectors[0, 3:].ravel())


def test_each_layer_is_pooled_by_itself_padding_left_out() -> None:
    states = tuple(torch.full((1, 3, 2), float(number)) for number in range(3))
    states[2][0, 2] = 99.0
    vectors = LayerVectors(MeanPooling())(states, torch.tensor([[1, 1, 0]]))
    assert vectors.tolist() == [[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]]


def test_the_penalty_is_strong_where_features_say_nothing_and_weak_where_they_say_all() -> None:
    features, clusters = GENERATOR.normal(size=(60, 40)), np.arange(60)
    assert best_penalty(features, GENERATOR.integers(0, 2, 60), clusters, n_values=2) == INVERSE_PENALTIES[0]
    assert (
        best_penalty(features[:, :2], (features[:, 0] > 0).astype(int), clusters, n_values=2) == INVERSE_PENALTIES[-1]
    )


def test_rows_of_a_cluster_do_not_speak_for_one_another() -> None:
    """Each text stands five times with a label that means nothing: learnt by heart it looks well told, but for clusters."""
    texts = np.repeat(GENERATOR.normal(size=(30, 60)), 5, axis=0)
    labels, clusters = np.repeat(GENERATOR.integers(0, 2, 30), 5), np.repeat(np.arange(30), 5)
    order = GENERATOR.permutation(150)
    texts, labels, clusters = texts[order], labels[order], clusters[order]
    assert best_penalty(texts, labels, np.arange(150), n_values=2) > best_penalty(texts, labels, clusters, n_values=2)


def test_one_cluster_alone_cannot_choose() -> None:
    assert best_penalty(FITTED, np.arange(80) % 2, np.zeros(80), n_values=2) == INVERSE_PENALTIES[0]


def test_the_loss_of_numbers_counts_columns_alike_and_skips_what_is_missing() -> None:
    """Squares 1 and 1 over a variance of 1; 100 over 100 beside a missing one: the mean is 1."""
    targets = np.array([[0.0, 10.0], [2.0, np.nan], [0.0, -10.0], [2.0, 10.0], [0.0, -10.0]])
    assert loss(np.where(np.isnan(targets), 0.0, targets), targets) == 0.0
    assert loss(targets + 1.0, targets) == pytest.approx((5 / np.var(targets[:, 0]) + 4 / 100) / 9)
