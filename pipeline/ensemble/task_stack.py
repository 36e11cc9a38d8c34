"""One task's ensemble: from its members' predictions to its own, its state, and scores with all that explains them."""

from typing import Any

import pandas as pd

from pipeline.artifacts.files import write_json
from pipeline.artifacts.histories import read_parents
from pipeline.artifacts.likeness import Likeness
from pipeline.artifacts.paths import ensemble_path, predictions_path
from pipeline.artifacts.predictions import read_predictions, write_predictions
from pipeline.artifacts.scores import TaskScores
from pipeline.artifacts.table import Folds, Table
from pipeline.contracts import Metric
from pipeline.ensemble.contributions import describe_stitching
from pipeline.ensemble.decisions import build_ladder
from pipeline.ensemble.description import describe_ensemble
from pipeline.ensemble.members import Members, gather_members
from pipeline.ensemble.stacking import build_ensemble, ensemble_predictions
from pipeline.errors.failpoints import failpoint
from pipeline.params.root import Params

KINDS = {"finetune": "encoder", "stitch": "stitched", "baseline": "baseline"}


def stack(
    name: str, params: Params, *, table: Table, folds: Folds, likeness: tuple[pd.DataFrame, dict[str, Likeness]]
) -> TaskScores:
    """Write one task's ensemble and its predictions; return its scores. `likeness` is what `read_likeness` returns."""
    task, seed = params.tasks[name], params.seed
    everyone, parents = gather(name, params, table=table, folds=folds, likeness=likeness)
    members = everyone.only(params.members)
    metrics, options = choices(name, params, members)
    ensemble = build_ensemble(members, **options)
    failpoint("stack")
    final = ensemble_predictions(members, ensemble, manifest=folds.digest, seed=seed)
    write_predictions(final, predictions_path("stack", "ensemble", name))
    write_json(ensemble_path(name), ensemble.state(members))
    described: Any = describe_ensemble(
        members, ensemble, kinds={member: KINDS[params.stages[member]] for member in members.names},
        metric_name=task.metric.name, metrics=metrics, n_bootstrap=params.stack.n_bootstrap, seed=seed,
        scored_ratio=task.submission.scored_ratio * _smallest_share(table, name),
    )  # fmt: skip
    stitching = describe_stitching(
        members, ensemble, parents=parents, everyone=everyone, n_bootstrap=params.stack.n_bootstrap,
        metric_name=task.metric.name, **options,
    )  # fmt: skip
    scores: TaskScores = described | {"stitching": stitching} | ({} if task.submit else {"auxiliary": True})
    return scores


def _smallest_share(table: Table, task: str) -> float:
    """Return the share of a task's test rows that the smallest of its files holds: each file is scored by itself."""
    sizes = list(map(len, table.test_files(task).values()))
    return min(sizes) / sum(sizes) if sizes else 1.0


def gather(
    name: str, params: Params, *, table: Table, folds: Folds, likeness: tuple[pd.DataFrame, dict[str, Likeness]]
) -> tuple[Members, dict[str, list[str]]]:
    """Return a task's members with the encoders of stitched ones, which need be none, and these by stitched member."""
    stitched = [member for member in params.members if params.stages[member] == "stitch"]
    parents = read_parents(stitched, encoders=list(params.encoders), task=name)
    wanted = dict.fromkeys([*params.members, *(encoder for group in parents.values() for encoder in group)])
    paths = {model: predictions_path(params.stages[model], model, name) for model in wanted}
    predictions = {model: read_predictions(path, manifest=folds.digest) for model, path in paths.items()}
    rows, of_task = likeness
    near: dict[str, Any] = {"likeness": rows, "shifted": of_task[name]["shifted"]}
    return gather_members(predictions, table=table, folds=folds, task=name, **near), parents


def choices(name: str, params: Params, members: Members) -> tuple[dict[str, Metric], dict[str, Any]]:
    """Return a task's metrics by name, the one that decides first, and what `build_ensemble` takes besides members."""
    task = params.tasks[name]
    metrics = {
        component.name: component.build(n_outputs=len(members.labels), decide=members.kind.decide)
        for component in [task.metric, *task.report_metrics]
    }
    metric = metrics[task.metric.name]
    needed = task.metric.by_option("NEEDED_ERRORS") or 0.0
    options: dict[str, Any] = {"tune_above": needed if params.stack.tune_decision else None}
    ladder = build_ladder(params.stack.ladder, metric=metric, seed=params.seed)
    return metrics, options | {"ladder": ladder, "metric": metric, "seed": params.seed}
