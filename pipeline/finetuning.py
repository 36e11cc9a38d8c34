"""Fine-tuning: for every task, repeat and fold one model that never saw the fold, and its predictions of it.

Two units per fold: training, which knows nothing of the rows to predict, and prediction. So a second test file, or a
change to what is predicted, trains nothing again.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline import artifacts, components
from pipeline.artifacts import Folds, Table
from pipeline.copies import Copies, no_copies
from pipeline.executing import run_units
from pipeline.failpoints import failpoint
from pipeline.fold_training import HISTORY, predict_fold, train_fold
from pipeline.folders import MANIFEST
from pipeline.folding import FoldJob, fold_jobs, gather_predictions, rows_digest, unlabelled_of
from pipeline.reproducibility import derive_seed, digest, numerics
from pipeline.units import Unit, link_folder

if TYPE_CHECKING:
    from pipeline.params import Encoder, Run
    from pipeline.params_base import Component, Training


def model_digest(folder: Path) -> str:
    """Return the digest of a published model's files; its history, which holds times, is left out."""
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return digest({name: one for name, one in files.items() if name != HISTORY})


def finetune(
    encoder: str,
    table: Table,
    folds: Folds,
    *,
    settings: "Encoder",
    recipe: dict[str, Any],
    metrics: dict[str, "Component"],
    seed: int,
    run: "Run",
    folder: Path,
    copies: Copies | None = None,
) -> None:
    """Fine-tune an encoder over all folds of all tasks and write its models, predictions and history into a folder.

    Args:
        encoder: its name in params.yaml.
        table: the rows.
        folds: the fold manifest.
        settings: the encoder's resolved settings.
        recipe: its recipe, whose `train` and `predict` stand for settings and code.
        metrics: per task the metric.
        seed: of the whole run.
        run: where the units run.
        folder: where `<task>.parquet`, `history.json` and `models/` go.
        copies: augmented copies of the training rows, for encoders that take them.
    """
    jobs = fold_jobs(table, folds, copies if settings.augment else None)
    training: list[Any] = []
    predicting: list[Any] = []
    for job in jobs:
        labels = table.labels[job.task]
        job_seed = derive_seed(seed, job.task, job.repeat, job.fold)
        depends_on = {
            "step": "finetune",
            "recipe": recipe["train"],
            "rows": trained_rows_digest(job, settings),
            "labels": labels,
            "metric": metrics[job.task].model_dump() if settings.epoch_selection == "inner" else None,
            "seed": job_seed,
            "numerics": numerics(run.device, run.threads_per_worker),
        }
        more = augmented_rows(job, settings, copies)
        depends_on |= {name: rows_digest(rows) for name, rows in more.items()}
        described: dict[str, Any] = {name: recipe[name] for name in ("settings", "source", "code") if name in recipe}
        unit = Unit(f"{encoder}/{job.name}", depends_on, described)
        arguments = {"rows": job.fitted, "n_outputs": len(labels), "settings": settings, "seed": job_seed, **more}
        training.append((unit, train_fold, {**arguments, "metric": metrics[job.task]}))
        fields = {"model": encoder, "task": job.task, "labels": labels, "recipe": recipe["train"], "seed": seed}
        depends_on = {"step": "predict", "model": unit.key, "code": recipe["predict"]}
        depends_on["rows"] = rows_digest(job.predicted)
        arguments = {"model": unit.result, "rows": job.predicted, "settings": settings}
        arguments["predictions"] = {**fields, "manifest": folds.digest}
        predicting.append((Unit(f"{encoder}/{job.name}/predict", depends_on), predict_fold, arguments))
    run_units(training, run=run, stage=f"finetune-{encoder}")
    run_units(predicting, run=run, stage=f"predict-{encoder}")
    _collect(folder, jobs, [unit for unit, *_ in training], [unit for unit, *_ in predicting], table, folds)


def augmented_rows(job: FoldJob, settings: "Encoder", copies: Copies | None) -> dict[str, pd.DataFrame]:
    """Return what a fold trains on beside its rows: its `copies`, and `unlabelled` for objectives that read them."""
    more = {}
    if len(job.copies):
        more["copies"] = job.copies.drop(columns="copy_id")
    if components.constant("objectives", settings.objective.name, "READS") == "unlabelled":
        more["unlabelled"] = unlabelled_of(copies or no_copies(), job)
    return more


def trained_rows_digest(job: FoldJob, settings: "Training") -> str:
    """Return the digest of the rows that a fold's model trains on; clusters matter only where some rows are spared."""
    return rows_digest(job.fitted if settings.epoch_selection == "inner" else job.fitted.drop(columns="cluster"))


def _collect(
    folder: Path, jobs: list[FoldJob], trained: list[Unit], predicted: list[Unit], table: Table, folds: Folds
) -> None:
    encoder = folder.name
    for task in table.labels:
        predictions = gather_predictions(predicted, jobs, model=encoder, task=task, manifest=folds.digest)
        artifacts.write_predictions(predictions, folder / f"{task}.parquet")
    history = []
    for job, unit in zip(jobs, trained, strict=True):
        link_folder(unit.result, folder / "models" / job.name)
        failpoint("collect")
        record = json.loads((unit.result / HISTORY).read_text(encoding="utf-8"))
        record["tokens_per_second"] = record["n_tokens"] / max(record["seconds"], 1e-9)
        names = {"task": job.task, "repeat": job.repeat, "fold": job.fold, "key": unit.key}
        made = {"rows": unit.depends_on["rows"], "model": model_digest(unit.result)}
        history.append({**names, **made, **record, "numerics": unit.depends_on["numerics"]})
    artifacts.write_json(folder / HISTORY, {"units": history})
