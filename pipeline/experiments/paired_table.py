"""Does it pay? Choices tried on the same folds and seeds, with the paired difference and its interval."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from pipeline.artifacts.copies import Copies
from pipeline.artifacts.files import read_json, write_atomically, write_json
from pipeline.artifacts.paths import ABLATIONS
from pipeline.artifacts.predictions import Predictions, read_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.base_models.finetuning import finetune
from pipeline.ensemble.decisions import cross_fit_decision
from pipeline.ensemble.intervals import Comparison, compare, interval
from pipeline.number_formats import signed
from pipeline.params.root import Params
from pipeline.recipes.stage_recipes import encoder_recipe
from pipeline.report.ablations import ablation_plot
from pipeline.report.figures import standalone
from pipeline.reproducibility import derive_seed


class Chance(TypedDict):
    """What the best of so many variants differs by from the reference if none is better: on average, and 1 time in 20."""

    variants: int
    mean: float
    one_in_twenty: float


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
        compared = _compare(params, table, folds, task, tried)
        chance = _chance(compared, reference)
        rows = [row | (facts[row["variant"]] if facts else {}) for row in _records(compared, reference, chance)]
        paths[task] = write_table(kind, task, rows, params=params, reference=reference, chance=chance, note=note)
    return paths


def write_table(
    kind: str, task: str, rows: list[dict[str, Any]], *, params: Params, reference: str, chance: Chance | None, note: str,
    **more: Any,
) -> Path:  # fmt: skip
    """Write a task's table of what was tried, its note with what chance would show, and its plot; return its path."""
    path = ABLATIONS / f"{kind}-{task}.json"
    write_json(path, {
        "kind": kind, "task": task, "metric": params.tasks[task].metric.name, "reference": reference, "rows": rows,
        "chance": chance,
        "note": f"{note}{_chance_text(chance, reference)}", "date": datetime.date.today().isoformat(), **more,
    })  # fmt: skip
    write_atomically(path.with_suffix(".svg"), standalone(ablation_plot(read_json(path))).encode())
    return path


def scored_ids(folds: Folds, task: str) -> list[str]:
    """Return the ids of a task's rows that some fold scores."""
    ids: list[str] = folds.rows.query("task == @task and fold >= 0")["row_id"].unique().tolist()
    return ids


def _compare(params: Params, table: Table, folds: Folds, task: str, blends: Mapping[str, np.ndarray]) -> Comparison:
    """Return the scores of blends over one task's rows, all under the same resamples."""
    rows = folds.rows.query("task == @task and fold >= 0").drop_duplicates("row_id").set_index("row_id")
    labels = table.targets(task, table.select(task, "train").set_index("row_id").loc[rows.index].reset_index())
    kind, fold = table.kind(task), rows["fold"].to_numpy()[None]
    metric = params.tasks[task].metric.build(n_outputs=len(table.labels[task]), decide=kind.decide)
    decided = {
        name: cross_fit_decision(labels, values[None], fold, kind=kind, metric=metric)
        if params.stack.tune_decision and kind.needed_errors(values, metric=metric)
        else values
        for name, values in blends.items()
    }
    return compare(
        labels, decided, clusters=rows["cluster"].to_numpy(), n_resamples=params.stack.n_bootstrap, metric=metric,
        seed=derive_seed(params.seed, "ablate", task),
    )  # fmt: skip


def _chance(compared: Comparison, reference: str) -> Chance | None:
    """Return what the best variant would show by chance, None without variants."""
    variants = [name for name in compared.scores if name != reference]
    if not variants:
        return None
    mean, most = (compared.sign * gain for gain in compared.best_by_chance(variants, reference))
    return {"variants": len(variants), "mean": mean, "one_in_twenty": most}


def _chance_text(chance: Chance | None, reference: str) -> str:
    """Return that as a sentence after a blank, nothing where it is not known."""
    if chance is None or np.isnan(chance["mean"]):
        return ""
    best = f"the best of {chance['variants']} variants" if chance["variants"] > 1 else "the one variant"
    return (
        f" Were none better than {reference!r}, {best} would show {signed(chance['mean'])} by chance, and one time in "
        f"twenty {signed(chance['one_in_twenty'])} or better (*: beyond that)."
    )


def _records(compared: Comparison, reference: str, chance: Chance | None) -> list[dict[str, Any]]:
    """Return each variant's score, its paired difference from the reference, and whether that is beyond chance."""
    records = []
    for variant in compared.scores:
        differences = compared.resampled[variant] - compared.resampled[reference]
        difference = interval(compared.scores[variant] - compared.scores[reference], differences)
        beyond = chance is not None and compared.sign * (difference.value - chance["one_in_twenty"]) > 0
        records.append({
            "variant": variant,
            **compared.score(variant),
            "difference": difference.value,
            "difference_low": difference.low,
            "difference_high": difference.high,
            "standard_error": float(np.std(differences, ddof=1)),
            "beyond_chance": beyond and variant != reference,
        })  # fmt: skip
    return records
