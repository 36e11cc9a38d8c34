"""Does it pay? Choices tried on the same folds and seeds, with the paired difference and its interval."""

import datetime
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifacts.files import write_json
from pipeline.artifacts.paths import ABLATIONS
from pipeline.artifacts.table import Folds, Table
from pipeline.ensemble.intervals import bootstrap_scores, interval
from pipeline.reproducibility import derive_seed

if TYPE_CHECKING:
    from pipeline.params.root import Params

log = logging.getLogger(__name__)


def write_tables(
    kind: str, params: "Params", table: Table, folds: Folds, blends: dict[str, dict[str, np.ndarray]], *,
    reference: str, note: str, facts: Mapping[str, dict[str, int]] | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Write a table per task of what was tried and return the paths; `facts` are more columns by variant."""
    paths = {}
    for task, own in blends.items():
        rows = _compare(params, table, folds, task, own, reference)
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
    params: "Params", table: Table, folds: Folds, task: str, blends: Mapping[str, np.ndarray], reference: str
) -> list[dict[str, Any]]:
    """Return the scores of blends over one task's rows, and their paired differences from the reference."""
    rows = folds.rows.query("task == @task and fold >= 0").drop_duplicates("row_id").set_index("row_id")
    labels = table.targets(task, table.select(task, "train").set_index("row_id").loc[rows.index].reset_index())
    metric = params.tasks[task].metric.build(n_outputs=len(table.labels[task]), decide=table.kind(task).decide)
    resampled = bootstrap_scores(
        labels, list(blends.values()), metric=metric, clusters=rows["cluster"].to_numpy(),
        n_resamples=params.stack.n_bootstrap, seed=derive_seed(params.seed, "ablate", task),
    )  # fmt: skip
    scores = {name: metric.score(labels, one) for name, one in blends.items()}
    place = list(blends).index(reference)
    found = []
    for position, (name, score) in enumerate(scores.items()):
        own = interval(score, resampled[position])
        differences = resampled[position] - resampled[place]
        difference = interval(score - scores[reference], differences)
        found.append(
            {
                "variant": name,
                "score": score,
                "low": own.low,
                "high": own.high,
                "difference": difference.value,
                "difference_low": difference.low,
                "difference_high": difference.high,
                "standard_error": float(np.std(differences, ddof=1)),
            }
        )
    return found
