"""Every metric against scikit-learn, on random rows, random weights and absent labels."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from pipeline import components
from pipeline.data.class_targets import ClassTargets
from pipeline.data.task_kinds.multilabel import Multilabel
from pipeline.errors.exceptions import ParamsError
from tests.small import make_metric

NAMES = [name for name in components.available("metrics") if "class" in components.constant("metrics", name, "FORMS")]
SEVERAL = [
    name for name in components.available("metrics") if "multilabel" in components.constant("metrics", name, "FORMS")
]
LABELS = {
    "accuracy": lambda y, p, c, w: reference.accuracy_score(y, p, sample_weight=w),
    "f1_binary": lambda y, p, c, w: reference.f1_score(y, p, pos_label=1, zero_division=0, sample_weight=w),
    "f1_macro": lambda y, p, c, w: reference.f1_score(
        y, p, labels=range(c), average="macro", zero_division=0, sample_weight=w
    ),
    "f1_weighted": lambda y, p, c, w: reference.f1_score(
        y, p, labels=range(c), average="weighted", zero_division=0, sample_weight=w
    ),
    "fbeta": lambda y, p, c, w: reference.fbeta_score(
        y, p, beta=2, labels=range(c), average="macro", zero_division=0, sample_weight=w
    ),
    "mcc": lambda y, p, c, w: reference.matthews_corrcoef(y, p, sample_weight=w),
    "quadratic_kappa": lambda y, p, c, w: reference.cohen_kappa_score(
        y, p, labels=range(c), weights="quadratic", sample_weight=w
    ),
}


def expected(name: str, labels, probabilities, weights=None) -> float:
    n_outputs = probabilities.shape[1]
    if name in LABELS:
        return LABELS[name](labels, probabilities.argmax(axis=1), n_outputs, weights)
    if name == "log_loss":
        return reference.log_loss(labels, probabilities, labels=range(n_outputs), sample_weight=weights)
    if name == "top_k_accuracy":
        untied = probabilities - 1e-9 * np.arange(n_outputs)  # of equal ones scikit-learn takes the last first
        return reference.top_k_accuracy_score(labels, untied, k=3, labels=range(n_outputs), sample_weight=weights)
    if name == "map_at_k":  # of one label it is that of the ranking, unless it comes later
        ranks = [
            1 + list(np.argsort(-row, kind="stable")).index(label)
            for label, row in zip(labels, probabilities, strict=True)
        ]
        return np.average([1 / rank if rank <= 3 else 0 for rank in ranks], weights=weights)
    scores = probabilities[:, 1] if n_outputs == 2 else probabilities
    options = {} if n_outputs == 2 else {"multi_class": "ovr", "average": "macro", "labels": range(n_outputs)}
    return reference.roc_auc_score(labels, scores, sample_weight=weights, **options)


def example(n_outputs: int, seed: int = 0, n_rows: int = 400):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, n_outputs, n_rows)
    probabilities = generator.dirichlet(np.ones(n_outputs), n_rows)
    probabilities[np.arange(n_rows), labels] += 0.1
    # Rounding makes ties, which the area under the curve must count half.
    probabilities = probabilities.round(2) + 1e-3
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def expected_of_several(name: str, labels, probabilities, weights=None) -> float:
    """Return what scikit-learn says where a row may have several labels."""
    if name == "auc":
        return reference.roc_auc_score(labels, probabilities, average="macro", sample_weight=weights)
    if name == "log_loss":
        columns = zip(labels.T, probabilities.T, strict=True)
        return np.mean([reference.log_loss(y, p, labels=[0, 1], sample_weight=weights) for y, p in columns])
    if name == "map_at_k":
        return np.average(
            [average_precision_of(*row, k=3) for row in zip(labels, probabilities, strict=True)], weights=weights
        )
    options = {"average": name.removeprefix("f1_"), "zero_division": 0, "sample_weight": weights}
    if name == "fbeta":
        return reference.fbeta_score(labels, probabilities >= 0.5, beta=2, **{**options, "average": "macro"})
    return reference.f1_score(labels, probabilities >= 0.5, **options)


def average_precision_of(labels, probabilities, *, k: int) -> float:
    """Return that of one row, as Kaggle's formula has it: sum of P(i) rel(i) up to k, over min(k, number of labels)."""
    said = sorted(range(len(probabilities)), key=lambda label: -probabilities[label])[:k]  # stable, as the metric is
    right = [labels[label] for label in said]
    found = sum(sum(right[: place + 1]) / (place + 1) for place in range(k) if right[place])
    return found / min(k, labels.sum()) if labels.sum() else 0.0


@pytest.mark.parametrize("name", SEVERAL)
def test_a_metric_of_several_labels_per_row_equals_scikit_learn(name):
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 4)) < [0.5, 0.3, 0.1, 0.02]).astype(np.int8)
    probabilities = (labels * 0.3 + 0.7 * generator.random(labels.shape)).round(2).clip(0.001, 0.999)
    weights = generator.integers(0, 3, (5, 300)).astype(float)
    metric = components.build("metrics", name, n_outputs=4, decide=Multilabel().decide)
    assert metric.score(labels, probabilities) == pytest.approx(expected_of_several(name, labels, probabilities))
    wanted = [expected_of_several(name, labels, probabilities, of_rows) for of_rows in weights]
    assert metric.resampled(labels, probabilities, weights) == pytest.approx(np.array(wanted))


NUMBERS = {
    "rmse": lambda y, p, w: reference.root_mean_squared_error(y, p, sample_weight=w),
    "mae": lambda y, p, w: reference.mean_absolute_error(y, p, sample_weight=w),
    "pearson": lambda y, p, w: np.cov(y, p, aweights=w)[0, 1] / np.sqrt(np.prod(np.diag(np.cov(y, p, aweights=w)))),
    "spearman": lambda y, p, w: stats.spearmanr(np.repeat(y, w.astype(int)), np.repeat(p, w.astype(int))).statistic,
}


def numbers(n_rows: int = 200):
    """Return targets with ties and missing ones, and values, both (N, 2)."""
    generator = np.random.default_rng(0)
    targets = (20 * generator.normal(size=(n_rows, 2)) + 300).round()
    values = targets + 10 * generator.normal(size=targets.shape).round()
    targets[generator.random(targets.shape) < 0.1] = np.nan
    return targets, values


def expected_of_numbers(name: str, targets, values, weights) -> float:
    known = ~np.isnan(targets)
    columns = [(y[k], p[k], weights[k]) for y, p, k in zip(targets.T, values.T, known.T, strict=True)]
    if name in ("rmse", "mae"):
        return NUMBERS[name](*(np.concatenate(part) for part in zip(*columns, strict=True)))
    return float(np.mean([NUMBERS[name.removeprefix("mc")](*column) for column in columns]))


def test_every_metric_of_numbers_is_compared_with_another_implementation():
    of_numbers = [name for name in components.available("metrics") if components.fits("metrics", name, "number")]
    assert set(of_numbers) == {*NUMBERS, "mcrmse"}


@pytest.mark.parametrize("name", [*NUMBERS, "mcrmse"])
def test_a_metric_of_numbers_equals_scikit_learn_scipy_or_numpy(name):
    targets, values = numbers()
    metric = components.build("metrics", name)
    ones = np.ones(len(targets))
    assert metric.score(targets, values) == pytest.approx(expected_of_numbers(name, targets, values, ones))
    weights = np.random.default_rng(1).integers(0, 4, (5, len(targets))).astype(float)
    wanted = [expected_of_numbers(name, targets, values, of_rows) for of_rows in weights]
    assert metric.resampled(targets, values, weights) == pytest.approx(np.array(wanted))
    better = metric.score(targets, np.where(np.isnan(targets), 0, (targets + values) / 2))
    assert metric.sign * better > metric.sign * metric.score(targets, values)


@pytest.mark.parametrize("name", [*NUMBERS, "mcrmse"])
def test_a_column_without_targets_counts_for_nothing_and_numbers_that_are_all_the_same_have_no_correlation(name):
    targets, values = numbers()
    metric = components.build("metrics", name)
    alone = metric.score(targets[:, :1], values[:, :1])
    assert metric.score(np.column_stack([targets[:, :1], np.full(200, np.nan)]), values) == pytest.approx(alone)
    assert np.isnan(metric.score(np.full((3, 1), np.nan), np.ones((3, 1))))
    constant = metric.score(targets[:, :1], np.full((200, 1), 0.1))
    assert np.isnan(constant) == (name in ("pearson", "spearman"))


def test_f1_of_a_row_without_labels_is_what_is_said():
    none = np.zeros((1, 2), np.int8)
    scores = [
        components.build("metrics", "f1_samples", {"of_none": of_none}, n_outputs=2, decide=Multilabel().decide).score(
            none, none.astype(float)
        )
        for of_none in (0.0, 1.0)
    ]
    assert scores == [0.0, 1.0]
    with pytest.raises(ParamsError, match="of_none: must be less than or equal to 1, got 2"):
        components.build("metrics", "f1_samples", {"of_none": 2}, n_outputs=2, decide=Multilabel().decide)


def sizes(name: str) -> list[int]:
    return {"f1_binary": [2], "map_at_k": [5], "top_k_accuracy": [5]}.get(name, [2, 5])


CASES = [(name, n_outputs) for name in NAMES for n_outputs in sizes(name)]


def test_all_metrics_of_the_project_are_there():
    wanted = {
        "fbeta",
        "map_at_k",
        "top_k_accuracy",
        "accuracy",
        "f1_binary",
        "f1_macro",
        "f1_weighted",
        "log_loss",
        "auc",
        "mcc",
        "quadratic_kappa",
    }
    assert wanted <= set(NAMES)


@pytest.mark.parametrize(("name", "n_outputs"), CASES)
def test_H6_score_equals_scikit_learn(name, n_outputs):
    """Scores of random predictions equal an independent implementation's."""
    labels, probabilities = example(n_outputs)
    metric = make_metric(name, n_outputs)
    assert metric.score(labels, probabilities) == pytest.approx(expected(name, labels, probabilities), abs=1e-12)


@pytest.mark.parametrize(("name", "n_outputs"), CASES)
def test_resampled_scores_equal_scikit_learn_with_sample_weights(name, n_outputs):
    labels, probabilities = example(n_outputs, seed=1)
    weights = np.random.default_rng(2).integers(0, 4, (7, len(labels))).astype(float)
    metric = make_metric(name, n_outputs)
    wanted = [expected(name, labels, probabilities, row) for row in weights]
    assert metric.resampled(labels, probabilities, weights) == pytest.approx(np.array(wanted), abs=1e-12)


@pytest.mark.parametrize("name", [name for name in LABELS if name != "f1_binary"])
def test_L8_absent_labels_count_as_in_scikit_learn_with_fixed_labels(name):
    """A metric counts every label of the task, as scikit-learn does with the labels fixed."""
    labels, probabilities = example(5, seed=3)
    labels = labels % 3
    probabilities[:, 4] = 0
    metric = make_metric(name, 5)
    assert metric.score(labels, probabilities) == pytest.approx(expected(name, labels, probabilities), abs=1e-12)


@pytest.mark.parametrize(("name", "n_outputs"), CASES)
@pytest.mark.parametrize("shift", [0, 1])
def test_no_score_lies_beyond_the_bounds_and_only_the_worst_is_without_end(name, n_outputs, shift):
    metric = make_metric(name, n_outputs)
    low, high = components.constant("metrics", name, "BOUNDS")
    assert (high if metric.higher_is_better else low) is not None
    low, high = (-np.inf if low is None else low), (np.inf if high is None else high)
    for seed in range(5):
        labels, probabilities = example(n_outputs, seed=seed, n_rows=30)
        certain = np.eye(n_outputs)[(labels + shift) % n_outputs]  # right everywhere, or wrong everywhere
        weights = np.random.default_rng(seed).integers(0, 4, (50, len(labels))).astype(float)
        for values in (probabilities, certain):
            scores = [*metric.resampled(labels, values, weights), metric.score(labels, values)]
            assert low - 1e-12 <= np.nanmin(scores) <= np.nanmax(scores) <= high + 1e-12


@pytest.mark.parametrize(("name", "n_outputs"), CASES)
def test_the_better_predictions_score_better(name, n_outputs):
    labels, probabilities = example(n_outputs)
    metric = make_metric(name, n_outputs)
    better = 0.5 * probabilities + 0.5 * np.eye(n_outputs)[labels]
    gain = metric.score(labels, better) - metric.score(labels, probabilities)
    assert gain * metric.sign > 0


@pytest.mark.parametrize("name", [name for name in NAMES if not components.constant("metrics", name, "ORDER")])
def test_the_order_of_the_labels_does_not_matter_to_a_metric_that_does_not_say_so(name):
    labels, probabilities = example(5)
    probabilities += np.random.default_rng(6).random(probabilities.shape) * 1e-6  # a tie would go to the first label
    metric, order = make_metric(name, 5), np.array([3, 0, 4, 1, 2])
    other = metric.score(np.argsort(order)[labels], probabilities[:, order])
    assert other == pytest.approx(metric.score(labels, probabilities), abs=1e-12)


def test_f1_macro_counts_a_label_that_never_occurs_as_zero():
    metric = make_metric("f1_macro", 3)
    labels = np.array([0, 0, 1, 1])
    assert metric.score(labels, np.eye(3)[labels]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("beta", [0.5, 3.0])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "binary"])
def test_fbeta_of_every_average_equals_scikit_learn(average, beta):
    labels, probabilities = example(2 if average == "binary" else 5)
    options = {"beta": beta, "average": average}
    metric = components.build(
        "metrics", "fbeta", options, n_outputs=probabilities.shape[1], decide=ClassTargets().decide
    )
    expected = reference.fbeta_score(labels, probabilities.argmax(axis=1), **options)
    assert metric.score(labels, probabilities) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ParamsError, match=r"average binary needs two labels, got 3\. Use macro"):
        components.build("metrics", "fbeta", {"average": "binary"}, n_outputs=3, decide=ClassTargets().decide)


def test_ranking_metrics_of_a_worked_example():
    # Ranks 1, 2 and 4 of the true label; of equal probabilities the label listed first comes first.
    labels = np.array([0, 2, 3])
    probabilities = np.array([[0.7, 0.1, 0.1, 0.1], [0.4, 0.1, 0.4, 0.1], [0.4, 0.3, 0.2, 0.1]])

    def score(name, k):
        return components.build("metrics", name, {"k": k}, n_outputs=4, decide=np.argmax).score(labels, probabilities)

    assert [score("map_at_k", k) for k in (1, 2, 3, 4)] == pytest.approx([1 / 3, 1.5 / 3, 1.5 / 3, 1.75 / 3])
    assert [score("top_k_accuracy", k) for k in (1, 2, 3, 4)] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1.0])
    several, said = np.array([[1, 0, 1, 1], [0, 0, 0, 0]], np.int8), np.array([[0.9, 0.8, 0.7, 0.1]] * 2)
    precision = components.build("metrics", "map_at_k", {"k": 3}, n_outputs=4, decide=np.argmax)
    assert precision.score(several, said) == pytest.approx((1 + 2 / 3) / 3 / 2)
    for name in ("map_at_k", "top_k_accuracy"):
        with pytest.raises(
            ParamsError, match=f"metric {name}: k must be at most the number of labels, 4, got 5. Lower"
        ):
            score(name, 5)


def test_quadratic_kappa_of_a_worked_example():
    # Two rows are off by one: cost 2 / 4. By the margins (2, 1, 1) of both sides, cost 2 (2 + 8 + 1) / 16 is expected.
    metric = make_metric("quadratic_kappa", 3)
    labels, predicted = np.array([0, 0, 1, 2]), np.array([0, 0, 2, 1])
    assert metric.score(labels, np.eye(3)[predicted]) == pytest.approx(1 - (2 / 4) / (22 / 16))


@pytest.mark.parametrize("name", ["mcc", "quadratic_kappa"])
def test_a_coefficient_that_is_not_defined_is_zero(name):
    metric = make_metric(name, 2)
    assert metric.score(np.zeros(4, int), np.tile([0.9, 0.1], (4, 1))) == 0


def test_auc_leaves_out_labels_that_do_not_occur():
    metric = make_metric("auc", 3)
    labels, probabilities = np.array([0, 0, 1, 1]), example(3, n_rows=4)[1]
    first, second = (reference.roc_auc_score(labels == label, probabilities[:, label]) for label in (0, 1))
    assert metric.score(labels, probabilities) == pytest.approx((first + second) / 2)
    assert np.isnan(metric.score(np.zeros(4, int), probabilities))


def test_binary_f1_of_three_labels_is_refused():
    with pytest.raises(ParamsError, match=r"needs two labels, got 3\. Use f1_macro"):
        make_metric("f1_binary", 3)
