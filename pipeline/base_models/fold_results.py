"""The folds' units of one model, gathered into its predictions, models and history."""

import json
from pathlib import Path

from pipeline.artifacts.files import write_json
from pipeline.artifacts.folds import Folds
from pipeline.artifacts.histories import HISTORY, model_digest
from pipeline.artifacts.predictions import write_predictions
from pipeline.artifacts.table import Table
from pipeline.data.fold_jobs import FoldJob, gather_predictions
from pipeline.errors.failpoints import failpoint
from pipeline.units.unit import Unit, link_folder


def _collect(
    folder: Path, jobs: list[FoldJob], trained: list[Unit], predicted: list[Unit], table: Table, folds: Folds
) -> None:
    encoder = folder.name
    for task in table.labels:
        predictions = gather_predictions(predicted, jobs, model=encoder, task=task, manifest=folds.digest)
        write_predictions(predictions, folder / f"{task}.parquet")
    history = []
    for job, unit in zip(jobs, trained, strict=True):
        link_folder(unit.result, folder / "models" / job.name)
        failpoint("collect")
        record = json.loads((unit.result / HISTORY).read_text(encoding="utf-8"))
        record["tokens_per_second"] = record["n_tokens"] / max(record["seconds"], 1e-9)
        names = {"task": job.task, "repeat": job.repeat, "fold": job.fold, "key": unit.key}
        made = {"rows": unit.depends_on["rows"], "model": model_digest(unit.result)}
        history.append({**names, **made, **record, "numerics": unit.depends_on["numerics"]})
    write_json(folder / HISTORY, {"units": history})
