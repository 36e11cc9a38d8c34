"""A submission of the best baseline, before anything slow begins: what can be uploaded if time runs out."""

import logging
from collections.abc import Mapping
from pathlib import Path

from pipeline.artifacts.files import write_json
from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import Folds, Table
from pipeline.params.root import Params
from pipeline.submit.submitting import common_format, frame_of_tests, publish, samples_of, summary

log = logging.getLogger(__name__)


def submit_best(
    params: Params, table: Table, folds: Folds, models: Mapping[str, Mapping[str, Predictions]], *, folder: Path
) -> None:
    """Write into a folder the checked submission, and its record, of the model that scores best out-of-fold in each task.

    Raises:
        DataError: if the competition would refuse the file.
    """
    best = {
        task: max(models, key=lambda name: _score(params, table, folds, models[name][task])) for task in params.tasks
    }
    frames = {task: frame_of_tests(models[name][task], table) for task, name in best.items()}
    path, digest = publish(common_format(params), frames, samples_of(params), folder)
    chosen = ", ".join(dict.fromkeys(best.values()))
    write_json(folder / "submission.json", summary(chosen, frames, folds.digest, path, digest))
    log.info("%s: a first submission, by %s, checked", path, chosen)


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
