"""Scores and how far to trust them: metrics over confusion counts, the cluster bootstrap, intervals, a model's record.

Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13 (percentile intervals).
Differs from the book: clusters (near-duplicates, groups) are drawn instead of rows.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.contracts import Metric
from pipeline.ensemble.intervals import bootstrap_scores, interval
from pipeline.ensemble.metric_forms import ratio


def error_agreement(errors_of_models: Sequence[np.ndarray]) -> list[list[float]]:
    """Return the correlations of the models' errors (N,), a symmetric matrix with ones on its diagonal.

    A model that errs everywhere or nowhere has correlation 0 with the others.
    """
    errors = np.stack(errors_of_models)
    errors -= errors.mean(axis=1, keepdims=True)
    lengths = np.sqrt((errors**2).sum(axis=1))
    values = ratio(errors @ errors.T, np.outer(lengths, lengths))
    np.fill_diagonal(values, 1.0)
    return [[float(value) for value in row] for row in values.clip(-1, 1)]


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
        for (true, predicted), count in np.ndenumerate(one.get("confusion", [])):
            tables["confusion"] += [(task, one["labels"][true], one["labels"][predicted])] * count
        bins = [found for found in one.get("calibration", ()) if found["rows"]]
        tables["calibration"] += [(task, found["confidence"], found["accuracy"], found["rows"]) for found in bins]
        models = [*one["models"], {"name": "ensemble", **one["estimate"]}]
        tables["scores"] += [(task, found["name"], found["score"], found["low"], found["high"]) for found in models]
    texts = {name: io.StringIO() for name in tables}
    for name, rows in tables.items():
        csv.writer(texts[name], lineterminator="\n").writerows(rows)
    return {name: text.getvalue() for name, text in texts.items()}
