"""A submission of the best baseline, before anything slow begins: what can be uploaded if time runs out."""

import logging
from collections.abc import Mapping
from pathlib import Path

from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import Folds, Table
from pipeline.params.root import Params
from pipeline.submit.submissions import publish_all

log = logging.getLogger(__name__)


def submit_best(
    params: Params, table: Table, folds: Folds, models: Mapping[str, Mapping[str, Predictions]], *, folder: Path
) -> None:
    """Write into a folder the checked submissions, and their record, of what scores best out-of-fold in each task.

    Raises:
        DataError: if the competition would refuse one.
    """
    best = {
        task: max(models, key=lambda name: _score(params, table, folds, models[name][task]))
        for task in params.submitted
    }
    chosen = ", ".join(dict.fromkeys(best.values()))
    predictions = {task: models[name][task] for task, name in best.items()}
    publish_all(params, table, predictions, model=chosen, folder=folder)
    log.info("%s: a first submission, by %s, checked", folder, chosen)


def _score(params: Params, table: Table, folds: Folds, predictions: Predictions) -> float:
    """Return the score of the first repeat's out-of-fold predictions, higher is better; one that is not finite is worst."""
    task = predictions.task
    plan, kind = folds.select(task, 0), table.kind(task)
    ids = plan.loc[plan["fold"] >= 0, "row_id"].tolist()
    scored = table.select(task, "train").set_index("row_id").loc[ids].reset_index()
    metric = params.tasks[task].metric.build(n_outputs=len(table.labels[task]), decide=kind.decide)
    probabilities = probabilities_of(predictions, "oof", ids, kind=kind, repeat=0)
    score: float = metric.sign * metric.score(table.targets(task, scored), probabilities)
    return score if score == score else float("-inf")
