"""Scores and how far to trust them: metrics over confusion counts, the cluster bootstrap, intervals, a model's record.

Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13 (percentile intervals).
Differs from the book: clusters (near-duplicates, groups) are drawn instead of rows.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.sparse import csr_array

from pipeline.contracts import Metric

CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.959964  # of the two-sided 95 % interval
CHUNK_CELLS = 4_000_000  # weights held at once: 32 MB


def confusion(labels: np.ndarray, predicted: np.ndarray, *, n_outputs: int) -> np.ndarray:
    """Return counts, an int64 array (C, C): true label by row, predicted label by column.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), n_outputs=2)
    array([[1, 0],
           [1, 1]])
    """
    return np.bincount(labels * n_outputs + predicted, minlength=n_outputs**2).reshape(n_outputs, n_outputs)


@dataclass
class ConfusionMetric:
    """A metric of predicted labels: a function of confusion counts (..., C, C), true label first, to scores (...)."""

    n_outputs: int
    from_confusion: Callable[[np.ndarray], np.ndarray]
    higher_is_better: bool = True
    reads: Literal["labels", "probabilities"] = "labels"

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """Return the score of the argmax of probabilities (N, C) against int labels (N,)."""
        counts = confusion(labels, probabilities.argmax(axis=1), n_outputs=self.n_outputs)
        return float(self.from_confusion(counts.astype(np.float64)))

    def resampled(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the scores (R,) under row weights (R, N): one sparse product gives all R confusions."""
        cells = labels * self.n_outputs + probabilities.argmax(axis=1)
        rows = np.arange(len(cells))
        indicator = csr_array((np.ones(len(cells)), (cells, rows)), shape=(self.n_outputs**2, len(cells)))
        counts = (indicator @ np.ascontiguousarray(weights.T, dtype=np.float64)).T
        return self.from_confusion(counts.reshape(-1, self.n_outputs, self.n_outputs))


@dataclass
class ProbabilityMetric:
    """A metric of the probabilities themselves, given by its function of row weights."""

    from_weights: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    higher_is_better: bool
    reads: Literal["labels", "probabilities"] = "probabilities"

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """Return the score of probabilities (N, C) against int labels (N,)."""
        return float(self.from_weights(labels, probabilities, np.ones((1, len(labels))))[0])

    def resampled(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the scores (R,) under row weights (R, N)."""
        return self.from_weights(labels, probabilities, weights)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the quotient of two arrays, 0 where the denominator is 0.

    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    return np.divide(numerator, denominator, out=np.zeros(np.shape(denominator)), where=denominator != 0)


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval and standard error."""

    value: float
    low: float
    high: float
    standard_error: float


def cluster_weights(clusters: np.ndarray, *, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield chunks of bootstrap row weights (r, N): how often each row's cluster was drawn.

    As many clusters are drawn, with replacement, as there are; the chunks' rows sum to `n_resamples`, and no chunk
    takes more than `CHUNK_CELLS` cells.
    """
    _, members = np.unique(clusters, return_inverse=True)
    n_clusters = int(members.max()) + 1
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK_CELLS // len(members))
    for start in range(0, n_resamples, size):
        n_rows = min(size, n_resamples - start)
        drawn = generator.integers(0, n_clusters, (n_rows, n_clusters))
        drawn += np.arange(n_rows)[:, None] * n_clusters
        counts = np.bincount(drawn.ravel(), minlength=n_rows * n_clusters).reshape(n_rows, n_clusters)
        yield counts[:, members].astype(np.float64)


def bootstrap_scores(
    labels: np.ndarray,
    candidates: Sequence[np.ndarray],
    *,
    metric: Metric,
    clusters: np.ndarray,
    n_resamples: int,
    seed: int,
) -> np.ndarray:
    """Return scores (candidates, n_resamples): all candidates under the same resamples, so that differences are paired.

    Args:
        labels, clusters: arrays (N,); rows of one cluster are drawn together.
        candidates: probabilities (N, C), one array per model.
        metric: what scores them.
        n_resamples, seed: of the bootstrap.
    """
    chunks = cluster_weights(clusters, n_resamples=n_resamples, seed=seed)
    return np.concatenate(
        [np.stack([metric.resampled(labels, one, weights) for one in candidates]) for weights in chunks],
        axis=1,
    )


def interval(value: float, resampled: np.ndarray) -> Interval:
    """Return the 95 % percentile interval and the standard error; resamples without a score (NaN) do not count.

    A paired interval is the interval of the differences of two models' resampled scores.

    >>> round(interval(0.5, np.linspace(0, 1, 1001)).low, 3)
    0.025
    """
    known = resampled[np.isfinite(resampled)]
    if len(known) < 2:
        return Interval(value, float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(known, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Interval(value, float(low), float(high), float(known.std(ddof=1)))


def unseen_interval(score: Interval, *, n_train: int, n_test: int) -> tuple[float, float]:
    """Return the interval in which the score on `n_test` unseen rows lies with 95 % probability.

    The out-of-fold score has the error of a sample of n_train rows, s / sqrt(n_train); the test score is itself the
    score of a sample and has s / sqrt(n_test). Their difference has s * sqrt(1 / n_train + 1 / n_test), which is the
    out-of-fold standard error times sqrt(1 + n_train / n_test). It holds for test rows drawn like the training rows.

    >>> low, high = unseen_interval(Interval(0.8, 0.79, 0.81, 0.005), n_train=3000, n_test=1000)
    >>> round(low, 4), round(high, 4)
    (0.7804, 0.8196)
    """
    if n_test == 0:
        return float("nan"), float("nan")
    half = NORMAL_QUANTILE * score.standard_error * float(np.sqrt(1 + n_train / n_test))
    return score.value - half, score.value + half


def error_agreement(labels: np.ndarray, candidates: Sequence[np.ndarray]) -> list[list[float]]:
    """Return the correlations of the models' errors, a symmetric matrix with ones on its diagonal.

    A model that errs everywhere or nowhere has correlation 0 with the others.
    """
    errors = np.stack([one.argmax(axis=1) != labels for one in candidates]).astype(np.float64)
    errors -= errors.mean(axis=1, keepdims=True)
    lengths = np.sqrt((errors**2).sum(axis=1))
    values = ratio(errors @ errors.T, np.outer(lengths, lengths))
    np.fill_diagonal(values, 1.0)
    return [[float(value) for value in row] for row in values.clip(-1, 1)]


def calibration_bins(labels: np.ndarray, probabilities: np.ndarray, *, n_bins: int = 10) -> list[dict[str, Any]]:
    """Return for each bin of the top probability its bounds, mean confidence, accuracy (None if empty) and rows.

    >>> calibration_bins(np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]]), n_bins=2)[1]
    {'low': 0.5, 'high': 1.0, 'confidence': 0.9, 'accuracy': 0.5, 'rows': 2}
    """
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((top * n_bins).astype(int), n_bins - 1)
    bins: list[dict[str, Any]] = []
    for number in range(n_bins):
        inside = place == number
        rows = int(inside.sum())
        confidence, accuracy = (float(top[inside].mean()), float(right[inside].mean())) if rows else (None, None)
        low, high = number / n_bins, (number + 1) / n_bins
        bins.append({"low": low, "high": high, "confidence": confidence, "accuracy": accuracy, "rows": rows})
    return bins


def hardest_rows(
    labels: np.ndarray, probabilities: np.ndarray, *, row_ids: list[str], names: list[str], n_rows: int = 20
) -> list[dict[str, Any]]:
    """Return the rows whose true label got the lowest probability, the hardest first, with what was predicted.

    >>> hardest_rows(np.array([0, 1]), np.array([[0.9, 0.1], [0.75, 0.25]]), row_ids=["x", "y"], names=["a", "b"])[0]
    {'row_id': 'y', 'label': 'b', 'predicted': 'a', 'probability': 0.25}
    """
    own, predicted = probabilities[np.arange(len(labels)), labels], probabilities.argmax(axis=1)
    return [
        {
            "row_id": row_ids[n],
            "label": names[labels[n]],
            "predicted": names[predicted[n]],
            "probability": float(own[n]),
        }
        for n in np.argsort(own, kind="stable")[:n_rows]
    ]


def score_once(
    labels: np.ndarray, probabilities: np.ndarray, *, clusters: np.ndarray, metric: Metric, n_resamples: int, seed: int
) -> dict[str, Any] | None:
    """Return rows, score and 95 % interval of an untouched set, or None if it has no rows."""
    if len(labels) == 0:
        return None
    resampled = bootstrap_scores(
        labels, [probabilities], metric=metric, clusters=clusters, n_resamples=n_resamples, seed=seed
    )
    score = interval(metric.score(labels, probabilities), resampled[0])
    return {"rows": len(labels), "score": score.value, "low": score.low, "high": score.high}


def score_models(
    labels: np.ndarray,
    models: Sequence[np.ndarray],
    *,
    folds: np.ndarray,
    clusters: np.ndarray,
    metric: Metric,
    report_metrics: dict[str, Metric],
    reference: int,
    n_resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return a record per model: score, scores by fold, interval, other metrics and gain over the reference.

    The score is that of the probabilities averaged over repeats. The gain is paired, positive where the model is
    better than the reference whatever way the metric points, and None for the reference itself.

    Args:
        labels, folds, clusters: arrays (N,), (R, N), (N,).
        models: out-of-fold probabilities (R, N, C), one array per model.
        metric, report_metrics: the task's metric, and every metric to report by name.
        reference: position of the model the others are compared with.
        n_resamples, seed: of the bootstrap.
    """
    means = [model.mean(axis=0) for model in models]
    scores = [metric.score(labels, mean) for mean in means]
    resampled = bootstrap_scores(labels, means, metric=metric, clusters=clusters, n_resamples=n_resamples, seed=seed)
    sign = 1 if metric.higher_is_better else -1
    records = []
    for position, (model, score) in enumerate(zip(models, scores, strict=True)):
        by_fold = [
            [metric.score(labels[numbers == fold], one[numbers == fold]) for fold in np.unique(numbers)]
            for one, numbers in zip(model, folds, strict=True)
        ]
        own = interval(score, resampled[position])
        gain = interval(sign * (score - scores[reference]), sign * (resampled[position] - resampled[reference]))
        records.append({
            "score": score,
            "low": own.low,
            "high": own.high,
            "standard_error": own.standard_error,
            "folds": by_fold,
            "mean": float(np.nanmean(by_fold)),
            "std": float(np.nanstd(by_fold, ddof=1)),
            "metrics": {name: other.score(labels, means[position]) for name, other in report_metrics.items()},
            "gain": None if position == reference else asdict(gain),
        })  # fmt: skip
    return records


def plot_tables(tasks: dict[str, Any]) -> dict[str, str]:
    """Return csv texts for `dvc plots`: the confusion (a line per row), the filled calibration bins, the scores."""
    tables: dict[str, list[Sequence[Any]]] = {
        "confusion": [("task", "actual", "predicted")],
        "calibration": [("task", "confidence", "accuracy", "rows")],
        "scores": [("task", "model", "score", "low", "high")],
    }
    for task, one in tasks.items():
        for (true, predicted), count in np.ndenumerate(one["confusion"]):
            tables["confusion"] += [(task, one["labels"][true], one["labels"][predicted])] * count
        bins = [found for found in one["calibration"] if found["rows"]]
        tables["calibration"] += [(task, found["confidence"], found["accuracy"], found["rows"]) for found in bins]
        models = [*one["models"], {"name": "ensemble", **one["estimate"]}]
        tables["scores"] += [(task, found["name"], found["score"], found["low"], found["high"]) for found in models]
    texts = {name: io.StringIO() for name in tables}
    for name, rows in tables.items():
        csv.writer(texts[name], lineterminator="\n").writerows(rows)
    return {name: text.getvalue() for name, text in texts.items()}
