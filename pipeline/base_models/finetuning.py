"""Fine-tuning: for every task, repeat and fold one model that never saw the fold, and its predictions of it.

Two units per fold: training, which knows nothing of the rows to predict, and prediction. So a second test file, or a
change to what is predicted, trains nothing again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.copies import Copies
from pipeline.artifacts.table import Folds, Table
from pipeline.base_models.fold_results import collect
from pipeline.base_models.fold_training import predict_fold, train_fold
from pipeline.data.fold_jobs import FoldJob, augmented_rows, fold_jobs, rows_digest, trained_rows_digest
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.reproducibility import numerics
from pipeline.training.epoch_choice import epoch_scorer
from pipeline.units.budget import Budget
from pipeline.units.execution import Job, run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit

FORWARD_SHARE = 1 / 3  # of a step's time: the backward pass takes about twice the forward one


def finetune(
    encoder: str,
    table: Table,
    folds: Folds,
    *,
    settings: Encoder,
    recipe: dict[str, Any],
    metrics: dict[str, Component],
    seed: int,
    run: Run,
    folder: Path,
    copies: Copies | None = None,
    budget: Budget | None = None,
) -> None:
    """Fine-tune an encoder over all folds of all tasks; write `<task>.parquet`, `history.json` and `models/` into a folder.

    Args:
        encoder: its name in params.yaml.
        recipe: its recipe, whose `train` and `predict` stand for settings and code.
        metrics: per task the metric.
        seed: of the whole run.
        copies: augmented copies of the training rows, for encoders that take them.
        budget: the time that there is for it.
    """
    jobs = fold_jobs(table, folds, copies if settings.augment else None, seed=seed)
    plan = _Plan(encoder, settings, recipe, metrics, run, copies, seed, table, folds.digest)
    training = [plan.training(job) for job in jobs]
    trained = [unit for unit, *_ in training]
    predicting = [plan.predicting(job, unit) for job, unit in zip(jobs, trained, strict=True)]
    budget = budget or Budget()
    budget.more = FORWARD_SHARE / settings.epochs * max(len(job.predicted) / len(job.fitted) for job in jobs)
    run_units(training, run=run, stage=Stage("finetune", model=encoder), budget=budget)
    budget.more = 0.0
    run_units(predicting, run=run, stage=Stage("predict", model=encoder), budget=budget)
    collect(folder, jobs, trained=trained, predicted=[unit for unit, *_ in predicting], table=table, folds=folds)


@dataclass(frozen=True)
class _Plan:
    """What all folds of an encoder share, and the two units of each."""

    encoder: str
    settings: Encoder
    recipe: dict[str, Any]
    metrics: dict[str, Component]
    run: Run
    copies: Copies | None
    seed: int
    table: Table
    manifest: str

    def training(self, job: FoldJob) -> Job:
        """Return the unit that trains a fold's model."""
        settings, recipe, metric = self.settings, self.recipe, self.metrics[job.task]
        kind, labels = self.table.kind(job.task), self.table.labels[job.task]
        depends_on = {
            "step": "finetune", "recipe": recipe["train"], "rows": trained_rows_digest(job, settings),
            "labels": labels, "kind": self.table.kinds[job.task], "n_outputs": len(kind.outputs(labels)),
            "metric": metric.model_dump() if settings.epoch_selection == "inner" else None,
            "seed": job.seed, "numerics": numerics(self.run.device, self.run.threads_per_worker),
        }  # fmt: skip
        settings = settings.reading(job.reading.fields)
        if settings.field_budgets:
            depends_on["field_budgets"] = settings.field_budgets
        more = augmented_rows(job, settings, self.copies)
        depends_on |= {name: rows_digest(rows) for name, rows in more.items()}
        described: dict[str, Any] = {name: recipe[name] for name in ("settings", "source", "code") if name in recipe}
        arguments: dict[str, Any] = {
            "rows": job.to_fit,
            "settings": settings,
            "seed": job.seed,
            "labels": labels,
            **more,
        }
        arguments["n_outputs"] = depends_on["n_outputs"]
        arguments["scorer"] = epoch_scorer(settings, metric=metric, kind=kind, labels=labels)
        return Unit(f"{self.encoder}/{job.name}", depends_on, described), train_fold, arguments

    def predicting(self, job: FoldJob, trained: Unit) -> Job:
        """Return the unit that predicts with the model that a unit trained."""
        code, rows = self.recipe["predict"], rows_digest(job.to_predict)
        depends_on = {"step": "predict", "model": trained.key, "code": code, "rows": rows}
        fields = {"model": self.encoder, "task": job.task, "manifest": self.manifest, "recipe": self.recipe["train"]}
        outputs = self.table.kind(job.task).outputs(self.table.labels[job.task])
        fields |= {"labels": outputs, "seed": self.seed}
        settings = self.settings.reading(job.reading.fields)
        arguments = {"rows": job.to_predict, "settings": settings, "predictions": fields, "model": trained.result}
        arguments["swapped"] = self.table.kind(job.task) if job.reading.swap else None
        return Unit(f"{self.encoder}/{job.name}/predict", depends_on), predict_fold, arguments
