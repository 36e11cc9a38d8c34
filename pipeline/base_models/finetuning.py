"""Fine-tuning: for every task, repeat and fold one model that never saw the fold, and its predictions of it.

Two units per fold: training, which knows nothing of the rows to predict, and prediction. So a second test file, or a
change to what is predicted, trains nothing again.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.copies import Copies
from pipeline.artifacts.folds import Folds
from pipeline.artifacts.table import Table
from pipeline.base_models.fold_results import _collect
from pipeline.base_models.fold_training import predict_fold, train_fold
from pipeline.data.fold_jobs import augmented_rows, fold_jobs, rows_digest, trained_rows_digest
from pipeline.reproducibility import derive_seed, numerics
from pipeline.units.execution import run_units
from pipeline.units.unit import Unit

if TYPE_CHECKING:
    from pipeline.params.encoders import Encoder
    from pipeline.params.fields import Component
    from pipeline.params.run import Run


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
