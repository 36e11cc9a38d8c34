"""Baselines over the same folds as everything else: the score that slower models must beat, and a column for the stacker."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.artifacts.paths import UNIT_PREDICTIONS
from pipeline.artifacts.predictions import Predictions, write_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.data.fold_jobs import FoldJob, fold_jobs, gather_predictions, rows_digest
from pipeline.errors.failpoints import failpoint
from pipeline.reproducibility import versions
from pipeline.units.execution import run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit

if TYPE_CHECKING:
    from pipeline.params.fields import Component
    from pipeline.params.root import Run
    from pipeline.units.execution import Workspace


def fit_and_predict(
    workspace: "Workspace",
    *,
    fitted: pd.DataFrame,
    predicted: pd.DataFrame,
    baseline: "Component",
    seed: int,
    fields: dict[str, Any],
) -> None:
    """Fit a baseline on a fold's training rows and write its predictions into the workspace's result."""
    model = baseline.build(n_outputs=len(fields["labels"]), seed=seed)
    model.fit(fitted, fitted["label"].to_numpy())
    failpoint("baseline")
    logits = model.predict_log_probabilities(predicted)
    write_predictions(Predictions(rows=predicted, logits=logits, **fields), workspace.result / UNIT_PREDICTIONS)


def run_baseline(
    name: str,
    table: Table,
    folds: Folds,
    *,
    baseline: "Component",
    recipe: dict[str, Any],
    seed: int,
    run: "Run",
) -> dict[str, Predictions]:
    """Return a baseline's predictions per task, out-of-fold and for the test rows."""
    jobs = fold_jobs(table, folds, seed=seed)
    units = [_unit(name, job, table, folds, baseline, recipe, seed) for job in jobs]
    # No baseline computes on a GPU: it must not wait for one.
    run_units(units, run=run.model_copy(update={"device": "cpu"}), stage=Stage("baseline", model=name))
    paths = [unit.result / UNIT_PREDICTIONS for unit, *_ in units]
    return {
        task: gather_predictions(paths, jobs, model=name, task=task, manifest=folds.digest) for task in table.labels
    }


def _unit(
    name: str,
    job: FoldJob,
    table: Table,
    folds: Folds,
    baseline: "Component",
    recipe: dict[str, Any],
    seed: int,
) -> Any:
    depends_on = {
        "step": "baseline",
        "baseline": baseline.model_dump(),
        "code": recipe["units"][name],
        "fitted": rows_digest(job.fitted),
        "predicted": rows_digest(job.predicted),
        "labels": table.labels[job.task],
        "kind": table.kinds[job.task],
        "seed": job.seed,
        "versions": versions(),
    }
    fields = {"model": name, "task": job.task, "labels": table.labels[job.task], "seed": seed, "recipe": ""}
    arguments = {"fitted": job.fitted, "predicted": job.predicted, "baseline": baseline, "seed": job.seed}
    arguments["fields"] = {**fields, "manifest": folds.digest}
    return Unit(f"{name}/{job.name}", depends_on), fit_and_predict, arguments
