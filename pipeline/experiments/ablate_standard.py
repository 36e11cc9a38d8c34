"""The test standard: a few epochs, per setting the validation score's mean and variance over epochs and seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.table import Folds, Table
from pipeline.experiments.ablate_edits import train_variants
from pipeline.experiments.paired_table import write_table
from pipeline.experiments.variants import AS_IS
from pipeline.params.root import Params

N_EPOCHS = 5


def standard_edits(n_epochs: int = N_EPOCHS) -> list[str]:
    """Return the edits under which an encoder `{}` is trained for so many epochs, each scored on rows that folds spare."""
    return [f"encoders.{{}}.epochs={n_epochs}", "encoders.{}.epoch_selection=inner"]


def ablate_standard(
    variants: Mapping[str, Params], table: Table, folds: Folds, *, model: str, n_seeds: int
) -> dict[str, Path]:
    """Train an encoder under each of some params and write, per task, how its validation score goes over epochs and seeds.

    Args:
        variants: params by name, as `read_variants` gives them with `standard_edits`.
        table, folds: the competition's.
        model: the encoder.
        n_seeds: under how many seeds.

    Returns:
        The path of each task's table, JSON: per setting the mean over folds after each epoch (means over seeds), and its
        mean and variance over epochs and seeds.
    """
    params = variants[AS_IS]
    trained = train_variants(variants, table, folds, model=model, n_seeds=n_seeds)
    paths = {}
    for task in table.labels:
        metric = params.tasks[task].metric.build(n_outputs=len(table.labels[task]), decide=table.kind(task).decide)
        scores = {
            name: [
                [[epoch["inner_score"] for epoch in unit["epochs"]] for unit in one.units if unit["task"] == task]
                for one in of_seeds
            ]
            for name, of_seeds in trained.items()
        }
        rows = curve_rows({name: np.array(curves, float) for name, curves in scores.items()}, sign=metric.sign)
        settings = params.encoders[model]
        note = (
            f"Curves to read, not honest estimates: scores of {model} after each of {settings.epochs} epochs on the "
            f"{settings.inner_ratio:.0%} of its training rows that a fold spares, means over folds. Mean and variance are "
            f"over epochs and {n_seeds} seed(s). Epochs of one training hang together, and the best epoch or setting here is "
            "flattered by being chosen: whether a setting pays says `stitchfold ablate edits`."
        )
        paths[task] = write_table(
            "standard", task, rows, params=params, reference=AS_IS, chance=None, note=note, model=model
        )
    return paths


def curve_rows(curves: Mapping[str, np.ndarray], *, sign: int) -> list[dict[str, Any]]:
    """Return a record per setting, the best mean first, of scores (seeds, folds, epochs), higher is better, by its name.

    >>> curve_rows({"a": np.array([[[0.25, 0.5], [0.75, 1.0]]])}, sign=1)
    [{'variant': 'a', 'mean': 0.625, 'variance': 0.03125, 'epochs': [0.5, 0.75]}]
    """
    rows = []
    for name, scores in curves.items():
        by_seed = sign * np.nanmean(scores, axis=1)  # (seeds, epochs)
        variance = float(by_seed.var(ddof=1)) if by_seed.size > 1 else None
        by_epoch = by_seed.mean(axis=0).tolist()
        rows.append({"variant": name, "mean": float(by_seed.mean()), "variance": variance, "epochs": by_epoch})
    return sorted(rows, key=lambda row: -sign * row["mean"])
