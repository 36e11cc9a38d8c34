"""Scores and how far to trust them: metrics over confusion counts, the cluster bootstrap, intervals, a model's record.

Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13 (percentile intervals).
Differs from the book: clusters (near-duplicates, groups) are drawn instead of rows.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Unpack

import numpy as np

from pipeline.artifacts.scores import TaskScores
from pipeline.contracts import Metric
from pipeline.ensemble.averaging import GainOnTest
from pipeline.ensemble.forms import ratio
from pipeline.ensemble.intervals import Bootstrap, Bounds, compare


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


def score_models(
    labels: np.ndarray, models: Sequence[np.ndarray], *, folds: np.ndarray, metric: Metric, scorer: Metric,
    report_metrics: dict[str, Metric], reference: int, on_test: Sequence[GainOnTest], bounds: Bounds,
    **bootstrap: Unpack[Bootstrap],
) -> list[dict[str, Any]]:  # fmt: skip
    """Return a record per model: score, scores by fold, interval, other metrics and gain over the reference.

    The score is that of the probabilities averaged over repeats. The gain is that expected on test rows, None for the
    reference itself.

    Args:
        labels, folds: arrays (N,), (R, N).
        models: out-of-fold probabilities (R, N, C), one array per model.
        metric, scorer, report_metrics: the task's metric, what scores all folds together, every metric to report by name.
        reference: position of the model the others are compared with.
        on_test: what each model gains on test rows.
        bounds: the metric's.
    """
    means = {position: model.mean(axis=0) for position, model in enumerate(models)}
    values = {position: gained.value for position, gained in enumerate(on_test)}
    compared = compare(labels, means, metric=scorer, on_test=values, bounds=bounds, **bootstrap)
    records = []
    for position, (model, gained) in enumerate(zip(models, on_test, strict=True)):
        by_fold = [
            [metric.score(labels[numbers == fold], probabilities[numbers == fold]) for fold in np.unique(numbers)]
            for probabilities, numbers in zip(model, folds, strict=True)
        ]
        records.append({
            **compared.score(position),
            "standard_error": compared.interval(position).standard_error,
            "folds": by_fold,
            "mean": float(np.nanmean(by_fold)),
            "std": float(np.nanstd(by_fold, ddof=1)),
            "metrics": {name: other.score(labels, means[position]) for name, other in report_metrics.items()},
            "averaging": gained.averaging,
            "expected": compared.expected(position),
            "gain": None if position == reference else asdict(compared.gain(position, reference)),
        })  # fmt: skip
    return records


def plot_tables(tasks: Mapping[str, TaskScores]) -> dict[str, str]:
    """Return csv texts for `dvc plots`: the confusion (a line per row), the filled calibration bins, the scores."""
    tables: dict[str, list[Sequence[Any]]] = {
        "confusion": [("task", "actual", "predicted")],
        "calibration": [("task", "confidence", "accuracy", "rows")],
        "scores": [("task", "model", "score", "low", "high")],
    }
    for task, scores in tasks.items():
        for (true, predicted), count in np.ndenumerate(scores.get("confusion", [])):
            tables["confusion"] += [(task, scores["labels"][true], scores["labels"][predicted])] * count
        bins = [part for part in scores.get("calibration", ()) if part["rows"]]
        tables["calibration"] += [(task, part["confidence"], part["accuracy"], part["rows"]) for part in bins]
        named = [(model["name"], model) for model in scores["models"]]
        for name, record in (*named, ("ensemble", scores["estimate"])):
            tables["scores"].append((task, name, record["score"], record["low"], record["high"]))
    texts = {name: io.StringIO() for name in tables}
    for name, rows in tables.items():
        csv.writer(texts[name], lineterminator="\n").writerows(rows)
    return {name: text.getvalue() for name, text in texts.items()}
