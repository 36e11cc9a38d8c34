"""Stage `stack`: the members' predictions to one ensemble per task, its honest score, metrics and plot data."""

import csv
import io
from typing import Any

from threadpoolctl import threadpool_limits

from pipeline import artifacts
from pipeline.exceptions import exit_on_error
from pipeline.params import Params, load_params
from pipeline.stacking import build_ensemble, describe_ensemble, ensemble_predictions, gather_members, name_rungs, summarise


def main() -> None:
    """Stack every task; the scores are written when all tasks are done."""
    # One thread: the order in which a matrix product adds up must not depend on the machine.
    with exit_on_error(), threadpool_limits(1):
        params = load_params()
        table, folds = artifacts.read_table(), artifacts.read_folds()
        scores = {task: stack(task, params, table=table, folds=folds) for task in params.tasks}
        artifacts.write_json(artifacts.SCORES, {"tasks": scores})
        artifacts.write_json(artifacts.METRICS, summarise(scores))
        write_plots(scores)


def stack(name: str, params: Params, *, table: artifacts.Table, folds: artifacts.Folds) -> dict[str, Any]:
    """Write one task's ensemble and return its scores."""
    task, n_outputs = params.tasks[name], len(table.labels[name])
    kinds = {member: "encoder" if member in params.encoders else "baseline" for member in params.members}
    stages = {"encoder": "finetune", "baseline": "baseline"}
    paths = {member: artifacts.predictions_path(stages[kind], member, name) for member, kind in kinds.items()}
    predictions = {member: artifacts.read_predictions(path, manifest=folds.digest) for member, path in paths.items()}
    members = gather_members(predictions, table=table, folds=folds, task=name)
    metrics = {one.name: one.build(n_outputs=n_outputs) for one in [task.metric, *task.report_metrics]}
    metric, seed = metrics[task.metric.name], params.seed
    ladder = name_rungs(params.stack.ladder, metric=metric, seed=seed)
    ensemble = build_ensemble(members, ladder=ladder, metric=metric, tune=params.stack.tune_decision, seed=seed)
    state = {"rung": ensemble.chosen, "members": members.names, "labels": members.labels, "decision": ensemble.scales}
    artifacts.write_json(artifacts.OUT / "stack" / f"{name}.json", state | {"state": ensemble.stacker.state()})
    final = ensemble_predictions(members, ensemble, manifest=folds.digest, seed=seed)
    artifacts.write_predictions(final, artifacts.predictions_path("stack", "ensemble", name))
    options = {"metric_name": task.metric.name, "metrics": metrics, "n_bootstrap": params.stack.n_bootstrap}
    return describe_ensemble(members, ensemble, kinds=kinds, seed=seed, **options)


def write_plots(scores: dict[str, Any]) -> None:
    """Write what `dvc plots` draws: one line per row of the confusion, per filled calibration bin and per model."""
