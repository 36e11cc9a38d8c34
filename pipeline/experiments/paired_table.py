"""Does it pay? Choices tried on the same folds and seeds, with the paired difference and its interval."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.copies import Copies
from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import ABLATIONS
from pipeline.artifacts.predictions import Predictions, read_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.base_models.finetuning import finetune
from pipeline.ensemble.intervals import compare, interval
from pipeline.params.root import Params
from pipeline.recipes.stage_recipes import encoder_recipe
from pipeline.reproducibility import derive_seed


def finetune_aside(
    encoder: str, params: Params, table: Table, folds: Folds, *, folder: Path, copies: Copies | None
) -> None:
    """Fine-tune an encoder, as params say, in its sub-folder of `folder`."""
    finetune(
        encoder, table, folds, settings=params.encoders[encoder], recipe=encoder_recipe(params, encoder),
        metrics={name: task.metric for name, task in params.tasks.items()}, seed=params.seed, run=params.run,
        folder=folder / encoder, copies=copies,
    )  # fmt: skip


def read_by_task(folder: Path, table: Table, folds: Folds) -> dict[str, Predictions]:
    """Return a model's predictions by task."""
    return {task: read_predictions(folder / f"{task}.parquet", manifest=folds.digest) for task in table.labels}


def write_tables(
    kind: str, params: Params, table: Table, folds: Folds, blends: dict[str, dict[str, np.ndarray]], *,
    reference: str, note: str, facts: Mapping[str, dict[str, int]] | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Write a table per task of what was tried and return the paths; `facts` are more columns by variant."""
    paths = {}
    for task, tried in blends.items():
        rows = _compare(params, table, folds, task, tried, reference)
        if facts is not None:
            rows = [{**row, **facts[row["variant"]]} for row in rows]
        values = {"task": task, "metric": params.tasks[task].metric.name, "reference": reference, "rows": rows}
        paths[task] = ABLATIONS / f"{kind}-{task}.json"
        write_json(paths[task], {**values, "note": note, "date": datetime.date.today().isoformat()})
    return paths


def scored_ids(folds: Folds, task: str) -> list[str]:
    """Return the ids of a task's rows that some fold scores."""
    ids: list[str] = folds.rows.query("task == @task and fold >= 0")["row_id"].unique().tolist()
    return ids


def _compare(
    params: Params, table: Table, folds: Folds, task: str, blends: Mapping[str, np.ndarray], reference: str
) -> list[dict[str, Any]]:
    """Return the scores of blends over one task's rows, and their paired differences from the reference."""
    rows = folds.rows.query("task == @task and fold >= 0").drop_duplicates("row_id").set_index("row_id")
    labels = table.targets(task, table.select(task, "train").set_index("row_id").loc[rows.index].reset_index())
    compared = compare(
        labels, blends, clusters=rows["cluster"].to_numpy(), n_resamples=params.stack.n_bootstrap,
        metric=params.tasks[task].metric.build(n_outputs=len(table.labels[task]), decide=table.kind(task).decide),
        seed=derive_seed(params.seed, "ablate", task),
    )  # fmt: skip
    records = []
    for variant in blends:
        differences = compared.resampled[variant] - compared.resampled[reference]
        difference = interval(compared.scores[variant] - compared.scores[reference], differences)
        records.append({
            "variant": variant,
            **compared.score(variant),
            "difference": difference.value,
            "difference_low": difference.low,
            "difference_high": difference.high,
            "standard_error": float(np.std(differences, ddof=1)),
        })  # fmt: skip
    return records
