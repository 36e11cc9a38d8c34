"""Baselines over the same folds as everything else: the score that slower models must beat, and a column for the stacker."""

from typing import Any

import pandas as pd

from pipeline.artifacts.paths import UNIT_PREDICTIONS
from pipeline.artifacts.predictions import Predictions, write_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.contracts import TaskKind
from pipeline.data.fold_jobs import fold_jobs, gather_predictions, rows_digest, targets_of
from pipeline.errors.failpoints import failpoint
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.reproducibility import numerics
from pipeline.units.execution import Workspace, run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit


def fit_and_predict(
    workspace: Workspace,
    *,
    fitted: pd.DataFrame,
    predicted: pd.DataFrame,
    baseline: Component,
    n_labels: int,
    kind: TaskKind,
    seed: int,
    fields: dict[str, Any],
) -> None:
    """Fit a baseline on a fold's training rows and write its predictions into the workspace's result."""
    model = baseline.build(n_outputs=n_labels, seed=seed)
    model.fit(fitted, targets_of(fitted))
    failpoint("baseline")
    logits = kind.logits(model.predict(predicted))
    write_predictions(Predictions(rows=predicted, logits=logits, **fields), workspace.result / UNIT_PREDICTIONS)


def run_baseline(
    name: str, table: Table, folds: Folds, *, baseline: Component, recipe: dict[str, Any], seed: int, run: Run
) -> dict[str, Predictions]:
    """Return a baseline's predictions per task, out-of-fold and for the test rows."""
    jobs, units = fold_jobs(table, folds, seed=seed), []
    common = {"model": name, "manifest": folds.digest, "recipe": "", "seed": seed}
    for job in jobs:
        labels = table.labels[job.task]
        depends_on = {
            "step": "baseline", "baseline": baseline.model_dump(), "code": recipe["units"][name],
            "fitted": rows_digest(job.fitted), "predicted": rows_digest(job.predicted),
            "labels": labels, "kind": table.kinds[job.task], "seed": job.seed,
            "numerics": numerics("cpu", run.threads_per_worker),
        }  # fmt: skip
        kind = table.kind(job.task)
        arguments = {"fitted": job.fitted, "predicted": job.predicted, "baseline": baseline, "seed": job.seed}
        arguments |= {"n_labels": len(labels), "kind": kind}
        arguments["fields"] = {**common, "task": job.task, "labels": kind.outputs(labels)}
        units.append((Unit(f"{name}/{job.name}", depends_on), fit_and_predict, arguments))
    # No baseline computes on a GPU: it must not wait for one.
    run_units(units, run=run.model_copy(update={"device": "cpu"}), stage=Stage("baseline", model=name))
    paths = [unit.result / UNIT_PREDICTIONS for unit, *_ in units]
    return {
        task: gather_predictions(paths, jobs, model=name, task=task, manifest=folds.digest) for task in table.labels
    }
