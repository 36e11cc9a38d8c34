"""Stage `stack`: the members' predictions to one ensemble per task, its honest score, metrics and plot data."""

from typing import Any

from threadpoolctl import threadpool_limits

from pipeline.artifacts.files import write_atomically, write_json
from pipeline.artifacts.folds import Folds, read_folds
from pipeline.artifacts.histories import read_parents
from pipeline.artifacts.paths import METRICS, OUT, PLOTS, SCORES, predictions_path
from pipeline.artifacts.predictions import read_predictions, write_predictions
from pipeline.artifacts.table import Table, read_table
from pipeline.ensemble.contributions import describe_stitching, keep
from pipeline.ensemble.decisions import build_ladder
from pipeline.ensemble.scoring import plot_tables
from pipeline.ensemble.stacking import (
    build_ensemble,
    describe_ensemble,
    ensemble_predictions,
    gather_members,
    summarise,
)
from pipeline.errors.failpoints import failpoint
from pipeline.params.loading import load_params
from pipeline.params.root import Params
from pipeline.recipes.declared_inputs import declared_inputs
from pipeline.stage_run import exit_on_error

KINDS = {"finetune": "encoder", "stitch": "stitched", "baseline": "baseline"}


def main() -> None:
    """Stack every task; the scores are written when all tasks are done."""
    # One thread: the order in which a matrix product adds up must not depend on the machine.
    with exit_on_error(), declared_inputs(), threadpool_limits(1):
        params = load_params()
        table, folds = read_table(), read_folds()
        scores = {task: stack(task, params, table=table, folds=folds) for task in params.tasks}
        write_json(SCORES, {"tasks": scores})
        write_json(METRICS, summarise(scores))
        for name, text in plot_tables(scores).items():
            write_atomically(PLOTS / f"{name}.csv", text.encode("utf-8", "replace"))


def stack(name: str, params: Params, *, table: Table, folds: Folds) -> dict[str, Any]:
    """Write one task's ensemble and its predictions; return its scores."""
    task, seed = params.tasks[name], params.seed
    stitched = [one for one in params.members if params.stages[one] == "stitch"]
    parents = read_parents(stitched, encoders=list(params.encoders), task=name)
    wanted = dict.fromkeys([*params.members, *(encoder for group in parents.values() for encoder in group)])
    paths = {one: predictions_path(params.stages[one], one, name) for one in wanted}
    predictions = {one: read_predictions(path, manifest=folds.digest) for one, path in paths.items()}
    everyone = gather_members(predictions, table=table, folds=folds, task=name)
    members = keep(everyone, params.members)
    given: dict[str, Any] = {"n_outputs": len(members.labels), "decide": members.kind.decide}
    metrics = {one.name: one.build(**given) for one in [task.metric, *task.report_metrics]}
    metric = metrics[task.metric.name]
    ladder = build_ladder(params.stack.ladder, metric=metric, seed=seed)
    options: dict[str, Any] = {"ladder": ladder, "metric": metric, "tune": params.stack.tune_decision, "seed": seed}
    ensemble = build_ensemble(members, **options)
    failpoint("stack")
    final = ensemble_predictions(members, ensemble, manifest=folds.digest, seed=seed)
    write_predictions(final, predictions_path("stack", "ensemble", name))
    write_json(OUT / "stack" / f"{name}.json", ensemble.state(members))
    described = describe_ensemble(
        members, ensemble, kinds={one: KINDS[params.stages[one]] for one in members.names},
        metric_name=task.metric.name, metrics=metrics, n_bootstrap=params.stack.n_bootstrap, seed=seed,
    )  # fmt: skip
    stitching = describe_stitching(
        members, ensemble, parents=parents, everyone=everyone, n_bootstrap=params.stack.n_bootstrap, **options
    )
    return described | {"stitching": stitching}


if __name__ == "__main__":
    main()
