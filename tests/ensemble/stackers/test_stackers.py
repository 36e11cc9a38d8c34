"""Every stacker found in the folder keeps the contract; then what is special to each."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline import components
from pipeline.data.task_kinds.multilabel import Multilabel
from tests.small import make_metric

NAMES, SEVERAL, NUMBERS = (
    [name for name in components.available("stackers") if components.fits("stackers", name, form)]
    for form in ("class", "multilabel", "number")
)
# Trees split columns in order of their place, and so may take another of two equal splits when the labels are permuted.
LABEL_EQUIVARIANT = [name for name in NAMES if name != "lightgbm"]


def example(n_models: int = 3, n_outputs: int = 4, n_rows: int = 300, seed: int = 0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, n_outputs, n_rows)
    noise = generator.normal(size=(n_rows, n_models, n_outputs)) * np.linspace(0.7, 2.5, n_models)[:, None]
    logits = noise + 1.5 * np.eye(n_outputs)[labels][:, None]
    values = np.exp(logits)
    return values / values.sum(axis=2, keepdims=True), labels


def build(name: str, n_outputs: int = 4, **options):
    return components.build("stackers", name, options, metric=make_metric("accuracy", n_outputs), seed=7)


def fitted(name: str, probabilities, labels, **options):
    stacker = build(name, probabilities.shape[2], **options)
    stacker.fit(probabilities, labels)
    return stacker


def several(n_rows: int = 400, seed: int = 0):
    """Return probabilities (N, 3, 4) of models, the first best, of labels (N, 4), each row having none or some."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((n_rows, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(np.int8)
    noise = generator.normal(size=(n_rows, 3, 4)) * np.array([0.7, 1.5, 2.5])[:, None]
    return 1 / (1 + np.exp(-(noise + 3.0 * labels[:, None] - 1.5))), labels


@pytest.mark.parametrize("name", SEVERAL)
def test_a_stacker_serves_several_labels_per_row(name):
    """Its probabilities order rows better than an average member; its state survives JSON; a constant label is no error."""
    probabilities, labels = several()
    labels[:200, 3] = 0  # in the rows that are fitted
    metric = components.build("metrics", "f1_macro", n_outputs=4, decide=Multilabel().decide)
    stacker, other = (components.build("stackers", name, metric=metric, seed=7) for _ in range(2))
    stacker.fit(probabilities[:200], labels[:200])
    result = stacker.predict(probabilities[200:])
    assert result.shape == (200, 4) and np.isfinite(result).all() and result.min() >= 0 and result.max() <= 1
    auc = components.build("metrics", "auc").score
    members = np.mean([auc(labels[200:, :3], probabilities[200:, model, :3]) for model in range(3)])
    assert auc(labels[200:, :3], result[:, :3]) > members + 0.02
    weights = stacker.weights()
    assert weights is None or (len(weights) == 3 and sum(weights) == pytest.approx(1))
    other.load_state(json.loads(json.dumps(stacker.state(), allow_nan=False)))
    assert np.array_equal(other.predict(probabilities[200:]), result)


def numbers(n_rows: int = 600, seed: int = 0):
    """Return numbers (N, 3, 2) of models, the first best, of targets (N, 2) around 50, a fifth of the second missing."""
    generator = np.random.default_rng(seed)
    targets = 50 + 10 * generator.normal(size=(n_rows, 2))
    values = targets[:, None] + generator.normal(size=(n_rows, 3, 2)) * np.array([4.0, 6.0, 8.0])[:, None]
    targets[generator.random(n_rows) < 0.2, 1] = np.nan
    return values, targets


@pytest.mark.parametrize("name", NUMBERS)
def test_a_stacker_serves_numbers(name):
    """It errs less than an average member; its state survives JSON; neither the order of rows nor missing targets matter."""
    values, targets = numbers()
    metric = components.build("metrics", "rmse")
    stacker, other, shuffled = (components.build("stackers", name, metric=metric, seed=7) for _ in range(3))
    stacker.fit(values[:400], targets[:400])
    result = stacker.predict(values[400:])
    assert result.shape == (200, 2) and np.isfinite(result).all()
    members = np.mean([metric.score(targets[400:], values[400:, model]) for model in range(3)])
    assert metric.score(targets[400:], result) < 0.8 * members
    weights = stacker.weights()
    assert weights is None or (len(weights) == 3 and sum(weights) == pytest.approx(1))
    other.load_state(json.loads(json.dumps(stacker.state(), allow_nan=False)))
    assert np.array_equal(other.predict(values[400:]), result)
    order = np.random.default_rng(1).permutation(400)
    shuffled.fit(values[:400][order], targets[:400][order])
    assert shuffled.predict(values[400:]) == pytest.approx(result)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_stacker_without_a_known_target_of_a_column_takes_the_mean_or_median(name):
    values, targets = numbers(n_rows=100)
    targets[:, 1] = np.nan
    stacker = components.build("stackers", name, metric=components.build("metrics", "rmse"), seed=7)
    stacker.fit(values, targets)
    assert np.isfinite(stacker.predict(values)).all()


def test_ridge_finds_the_best_weights_and_mends_slope_and_offset():
    """Of independent errors with variances v the best weights go as 1 / v; what all models miss is learned too."""
    values, targets = numbers(n_rows=20_000)
    stacker = components.build("stackers", "ridge")
    stacker.fit(2 * values + 7, targets)
    [state, _] = stacker.state()["columns"]
    errors = np.array([16.0, 36.0, 64.0])
    best = (1 / errors) / (1 / errors + 0).sum() / (1 + 1 / (100 * (1 / errors).sum()))
    found = 2 * (1 / 3 + np.array(state["coefficients"]))
    assert found == pytest.approx(best, abs=0.02)
    metric = components.build("metrics", "rmse")
    assert metric.score(targets, stacker.predict(2 * values + 7)) < metric.score(targets, values.mean(axis=1))


def test_all_rungs_of_the_default_ladder_are_there():
    assert {"mean", "rank_mean", "greedy", "logistic", "lightgbm"} <= set(NAMES)


@pytest.mark.parametrize("n_outputs", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_finite_probabilities_of_every_label(name, n_outputs):
    probabilities, labels = example(n_outputs=n_outputs)
    result = fitted(name, probabilities, labels).predict(probabilities[:50])
    assert result.shape == (50, n_outputs)
    assert np.isfinite(result).all() and (result >= 0).all()
    assert result.sum(axis=1) == pytest.approx(np.ones(50), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_an_ensemble_beats_its_average_member_on_unseen_rows(name):
    probabilities, labels = example(n_rows=2000)
    result = fitted(name, probabilities[:1000], labels[:1000]).predict(probabilities[1000:])
    members = (probabilities[1000:].argmax(axis=2) == labels[1000:, None]).mean()
    assert (result.argmax(axis=1) == labels[1000:]).mean() > members + 0.05


@pytest.mark.parametrize("name", NAMES)
def test_H4_the_order_of_the_rows_does_not_matter(name):
    """Permuted rows give the same stacker."""
    probabilities, labels = example()
    order = np.random.default_rng(1).permutation(len(labels))
    plain = fitted(name, probabilities, labels).predict(probabilities)
    shuffled = fitted(name, probabilities[order], labels[order]).predict(probabilities[order])
    assert shuffled == pytest.approx(plain[order], abs=1e-5)


@pytest.mark.parametrize("n_outputs", [2, 4])
@pytest.mark.parametrize("name", LABEL_EQUIVARIANT)
def test_H4_I10_the_order_of_the_labels_does_not_matter(name, n_outputs):
    """Permuted labels give the same predictions, permuted."""
    probabilities, labels = example(n_outputs=n_outputs)
    order = np.random.default_rng(2).permutation(n_outputs)[::-1]
    plain = fitted(name, probabilities, labels).predict(probabilities)
    other = fitted(name, probabilities[:, :, order], np.argsort(order)[labels]).predict(probabilities[:, :, order])
    assert other == pytest.approx(plain[:, order], abs=1e-5)


@pytest.mark.parametrize("name", ["mean", "rank_mean"])
def test_H4_a_second_copy_of_every_model_changes_no_average(name):
    """An average of models that each stand twice is the average of the models."""
    probabilities, labels = example()
    once, twice = (
        fitted(name, given, labels).predict(given) for given in (probabilities, probabilities.repeat(2, axis=1))
    )
    assert twice == pytest.approx(once)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_state(name):
    probabilities, labels = example()
    states = [json.dumps(fitted(name, probabilities, labels).state()) for _ in range(2)]
    assert states[0] == states[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_state_survives_json(name):
    probabilities, labels = example()
    stacker, other = fitted(name, probabilities, labels), build(name)
    other.load_state(json.loads(json.dumps(stacker.state(), allow_nan=False)))
    assert np.array_equal(other.predict(probabilities), stacker.predict(probabilities))
    assert other.weights() == stacker.weights()


@pytest.mark.parametrize("name", NAMES)
def test_D15_I10_a_label_absent_when_fitting_still_comes_out(name):
    """A label that no fitted row had keeps its column of probabilities."""
    probabilities, labels = example()
    present = labels != 2
    result = fitted(name, probabilities[present], labels[present]).predict(probabilities)
    assert result.shape == (len(labels), 4)
    assert np.isfinite(result).all()
    assert result.sum(axis=1) == pytest.approx(np.ones(len(labels)), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_label_when_fitting_is_no_error(name):
    probabilities, _ = example(n_rows=30)
    result = fitted(name, probabilities, np.ones(30, int)).predict(probabilities)
    assert np.isfinite(result).all()


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_shares_of_the_models(name):
    probabilities, labels = example()
    weights = fitted(name, probabilities, labels).weights()
    assert weights is not None and len(weights) == 3
    assert min(weights) >= 0 and sum(weights) == pytest.approx(1)


@pytest.mark.parametrize("name", NAMES)
def test_zero_probabilities_are_no_error(name):
    probabilities, labels = example()
    probabilities = np.eye(4)[probabilities.argmax(axis=2)]
    assert np.isfinite(fitted(name, probabilities, labels).predict(probabilities)).all()


def test_greedy_takes_the_good_model_and_leaves_the_useless():
    probabilities, labels = example(n_rows=1000)
    probabilities[:, 2] = np.random.default_rng(3).dirichlet(np.ones(4), 1000)
    weights = fitted("greedy", probabilities, labels).weights()
    assert weights[0] > 0.5 and weights[2] < 0.1


def test_greedy_takes_the_first_of_equal_models():
    probabilities, labels = example(n_models=1)
    assert fitted("greedy", np.repeat(probabilities, 3, axis=1), labels).weights() == [1.0, 0.0, 0.0]


def test_greedy_is_at_least_as_good_as_its_best_model_on_the_rows_it_saw():
    probabilities, labels = example(n_models=4, seed=5)
    score = make_metric("accuracy", 4).score
    best = max(score(labels, probabilities[:, model]) for model in range(4))
    assert score(labels, fitted("greedy", probabilities, labels).predict(probabilities)) >= best


def test_greedy_bags_average_over_halves_of_the_models():
    probabilities, labels = example(n_models=4)
    weights = fitted("greedy", probabilities, labels, n_bags=20).weights()
    assert sum(weights) == pytest.approx(1) and sum(weight > 0 for weight in weights) >= 2


def test_ranks_of_a_worked_example():
    column = np.array([0.1, 0.9, 0.5])
    probabilities = np.stack([1 - column, column], axis=1)[:, None]
    assert fitted("rank_mean", probabilities, np.array([0, 1, 1])).predict(probabilities)[:, 1].tolist() == [
        0.25,
        0.75,
        0.5,
    ]


def test_rank_mean_does_not_see_how_sure_a_model_is():
    probabilities, labels = example(n_outputs=2)
    sharper = probabilities.copy()
    sharper[:, 0, 1] = probabilities[:, 0, 1] ** 3
    sharper[:, 0, 0] = 1 - sharper[:, 0, 1]
    stacker = fitted("rank_mean", probabilities, labels)
    assert stacker.predict(sharper) == pytest.approx(stacker.predict(probabilities))


def test_logistic_is_not_misled_by_a_column_that_hardly_varies_in_the_rows_it_saw():
    """Standardised by its scale there, such a column would move others' logits by hundreds."""
    probabilities, labels = example(n_models=2, n_outputs=2, n_rows=1200)
    seen, unseen = slice(0, 400), slice(400, None)
    flat = 0.5 + 1e-3 * np.random.default_rng(0).normal(size=400)
    probabilities[seen, 1] = np.stack([flat, 1 - flat], axis=1)
    loss = make_metric("log_loss", 2).score
    alone, both = (
        loss(labels[unseen], fitted("logistic", part[seen], labels[seen]).predict(part[unseen]))
        for part in (probabilities[:, :1], probabilities)
    )
    assert both < alone + 0.02


@pytest.mark.parametrize("n_rows", [500, 10_000])
def test_logistic_shrinks_less_the_more_rows_there_are(n_rows):
    """The penalty on the mean loss is 1 / (2 sqrt(rows)): as scikit-learn has it, C = 2 / sqrt(rows)."""
    probabilities, labels = example(n_models=2, n_outputs=2, n_rows=n_rows)
    coefficients = np.array(fitted("logistic", probabilities, labels).state()["coefficients"])[1]
    columns = np.log(probabilities).reshape(n_rows, -1)
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    expected = LogisticRegression(C=2 / np.sqrt(n_rows), tol=1e-8, max_iter=2000).fit(columns, labels)
    assert coefficients == pytest.approx(expected.coef_[0], rel=1e-3)


def test_lightgbm_of_many_labels_grows_trees_by_round_not_by_label_and_is_no_worse():
    """One of 200 classes took minutes a fit: a tree per label and round over the columns of all labels."""
    probabilities, labels = example(n_models=3, n_outputs=200, n_rows=1200, seed=3)
    stacker = fitted("lightgbm", probabilities[:800], labels[:800])
    assert stacker.state()["model"].count("\nTree=") == 60
    result = stacker.predict(probabilities[800:])
    assert result.shape == (400, 200) and (result > 0).all() and result.sum(axis=1) == pytest.approx(np.ones(400))
    of_stacker, of_mean = (
        (values.argmax(axis=1) == labels[800:]).mean() for values in (result, probabilities[800:].mean(axis=1))
    )
    assert of_stacker >= of_mean
    assert stacker.weights() == pytest.approx([max(weight, 0) for weight in stacker.weights()])
    assert sum(stacker.weights()) == pytest.approx(1)


def test_lightgbm_of_few_labels_is_a_tree_per_label_as_before():
    probabilities, labels = example(n_outputs=4)
    assert fitted("lightgbm", probabilities, labels).state()["model"].count("\nTree=") == 4 * 60


def test_lightgbm_of_many_labels_keeps_the_order_of_rows_and_labels_and_absent_labels_out_of_it():
    probabilities, labels = example(n_outputs=40, n_rows=500)
    labels[labels == 7] = 8
    plain = fitted("lightgbm", probabilities, labels).predict(probabilities)
    assert (plain[:, 7] > 0).all()
    rows, order = np.random.default_rng(1).permutation(500), np.random.default_rng(2).permutation(40)
    moved = probabilities[rows][:, :, order]
    other = fitted("lightgbm", moved, np.argsort(order)[labels[rows]]).predict(moved)
    assert other == pytest.approx(plain[rows][:, order], abs=1e-5)
    stacker, again = fitted("lightgbm", probabilities, labels), build("lightgbm")
    again.load_state(json.loads(json.dumps(stacker.state(), allow_nan=False)))
    assert np.array_equal(again.predict(probabilities), plain)
