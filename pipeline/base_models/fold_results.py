"""The folds' units of one model, gathered into its predictions, models and history."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import write_json
from pipeline.artifacts.histories import HISTORY, model_digest
from pipeline.artifacts.paths import UNIT_PREDICTIONS
from pipeline.artifacts.predictions import write_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.data.fold_jobs import FoldJob, gather_predictions
from pipeline.errors.failpoints import failpoint
from pipeline.units.notes import read_cost
from pipeline.units.unit import Unit, link_folder


@dataclass(frozen=True)
class Trained:
    """A fold's model: the unit that trained it and, of a model of several tasks, which of them it is."""

    unit: Unit
    task: str | None = None

    @property
    def folder(self) -> Path:
        """Return where its files are."""
        return self.unit.result if self.task is None else self.unit.result / self.task

    @property
    def rows(self) -> str:
        """Return the digest of the rows that it learnt from."""
        depends_on = self.unit.depends_on
        rows: str = (depends_on if self.task is None else depends_on["tasks"][self.task])["rows"]
        return rows


def collect(
    folder: Path,
    jobs: Sequence[FoldJob],
    *,
    trained: Sequence[Trained],
    predicted: Sequence[Unit],
    table: Table,
    folds: Folds,
    facts: Sequence[Mapping[str, Any]] | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write a model's predictions of each task, its fold models and its history into the folder called by its name.

    Of each job `trained` is the model, `predicted` the unit of its predictions, `facts` what the history also says of it;
    `more` is what it says of all.
    """
    paths = [unit.result / UNIT_PREDICTIONS for unit in predicted]
    for task in table.labels:
        predictions = gather_predictions(paths, jobs, model=folder.name, task=task, manifest=folds.digest)
        write_predictions(predictions, folder / f"{task}.parquet")
    units = []
    for job, model, known in zip(jobs, trained, facts or [{}] * len(jobs), strict=True):
        link_folder(model.folder, folder / "models" / job.name)
        failpoint("collect")
        record = json.loads((model.folder / HISTORY).read_text(encoding="utf-8"))
        record["tokens_per_second"] = record["n_tokens"] / max(record["seconds"], 1e-9)
        made = {"rows": model.rows, "numerics": model.unit.depends_on["numerics"], "model": model_digest(model.folder)}
        made |= read_cost(model.unit.folder)
        fold = {"task": job.task, "repeat": job.repeat, "fold": job.fold, "key": model.unit.key}
        units.append({**fold, **known, **record, **made})
    write_json(folder / HISTORY, {"units": units, **(more or {})})
