"""Fine-tuning: for every task, repeat and fold one model that never saw the fold, and its predictions of it.

Two units per fold: training, which knows nothing of the rows to predict, and prediction. So a second test file, or a
change to what is predicted, trains nothing again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.copies import Copies
from pipeline.artifacts.table import Folds, Table
from pipeline.base_models.fold_results import Trained, collect
from pipeline.base_models.fold_training import predict_fold, train_fold
from pipeline.base_models.shared_training import TaskRows, train_shared
from pipeline.data.fold_jobs import FoldJob, augmented_rows, fold_jobs, rows_digest, trained_rows_digest
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.reproducibility import fold_seed, numerics, shared_fold
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
    training = plan.shared(jobs) if settings.shares else [(plan.training(job), [job]) for job in jobs]
    trained = {
        job.name: Trained(unit, job.task if settings.shares else None) for (unit, *_), own in training for job in own
    }
    predicting = [plan.predicting(job, trained[job.name]) for job in jobs]
    budget = budget or Budget()
    budget.more = FORWARD_SHARE / settings.epochs * max(len(job.predicted) / len(job.fitted) for job in jobs)
    run_units([job for job, _ in training], run=run, stage=Stage("finetune", model=encoder), budget=budget)
    budget.more = 0.0
    run_units(predicting, run=run, stage=Stage("predict", model=encoder), budget=budget)
    made = [trained[job.name] for job in jobs]
    collect(folder, jobs, trained=made, predicted=[unit for unit, *_ in predicting], table=table, folds=folds)


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
        depends_on, arguments = self._task(job)
        depends_on |= {"step": "finetune", "recipe": self.recipe["train"], "seed": job.seed, "numerics": self._numerics}
        arguments["seed"] = job.seed
        return Unit(f"{self.encoder}/{job.name}", depends_on, self._described), train_fold, arguments

    def shared(self, jobs: Sequence[FoldJob]) -> list[tuple[Job, list[FoldJob]]]:
        """Return the units that each train one model of all tasks, with the folds that it is of."""
        units: list[tuple[Job, list[FoldJob]]] = []
        for place in dict.fromkeys((job.repeat, job.fold) for job in jobs):
            own = [job for job in jobs if (job.repeat, job.fold) == place]
            seed = fold_seed(self.seed, shared_fold((job.task for job in own), *place))
            made = {job.task: self._task(job) for job in own}
            depends_on = {"step": "finetune", "recipe": self.recipe["train"], "seed": seed, "numerics": self._numerics}
            depends_on |= {"tasks": {task: depends for task, (depends, _) in made.items()}}
            tasks = {job.task: TaskRows(**made[job.task][1], seed=job.seed) for job in own}
            arguments: dict[str, Any] = {"tasks": tasks, "settings": self.settings, "seed": seed}
            name = f"{self.encoder}/r{place[0]}-f{place[1]}"
            units.append(((Unit(name, depends_on, self._described), train_shared, arguments), own))
        return units

    @property
    def _numerics(self) -> dict[str, Any]:
        return numerics(self.run.device, self.run.threads_per_worker)

    @property
    def _described(self) -> dict[str, Any]:
        return {name: self.recipe[name] for name in ("settings", "source", "code") if name in self.recipe}

    def _settings(self, job: FoldJob) -> Encoder:
        """Return the settings as they are for a task and the fields of its texts."""
        return self.settings.for_task(job.task).reading(job.reading.fields)

    def _task(self, job: FoldJob) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a task's part in a fold's training depends on, and its arguments."""
        metric, settings = self.metrics[job.task], self._settings(job)
        kind, labels = self.table.kind(job.task), self.table.labels[job.task]
        n_outputs = len(kind.outputs(labels))
        depends_on = {
            "rows": trained_rows_digest(job, settings), "labels": labels, "kind": self.table.kinds[job.task],
            "n_outputs": n_outputs, "metric": metric.model_dump() if settings.epoch_selection == "inner" else None,
        }  # fmt: skip
        if settings.field_budgets:
            depends_on["field_budgets"] = settings.field_budgets
        more = augmented_rows(job, settings, self.copies)
        depends_on |= {name: rows_digest(rows) for name, rows in more.items()}
        scorer = epoch_scorer(settings, metric=metric, kind=kind, labels=labels)
        return depends_on, {
            "rows": job.to_fit,
            "settings": settings,
            "labels": labels,
            "n_outputs": n_outputs,
            "scorer": scorer,
            **more,
        }

    def predicting(self, job: FoldJob, trained: Trained) -> Job:
        """Return the unit that predicts with the model that was trained."""
        code, rows = self.recipe["predict"], rows_digest(job.to_predict)
        depends_on = {"step": "predict", "model": trained.unit.key, "code": code, "rows": rows}
        fields = {"model": self.encoder, "task": job.task, "manifest": self.manifest, "recipe": self.recipe["train"]}
        outputs = self.table.kind(job.task).outputs(self.table.labels[job.task])
        fields |= {"labels": outputs, "seed": self.seed}
        arguments = {"rows": job.to_predict, "settings": self._settings(job), "predictions": fields}
        arguments |= {"model": trained.folder, "swapped": self.table.kind(job.task) if job.reading.swap else None}
        return Unit(f"{self.encoder}/{job.name}/predict", depends_on), predict_fold, arguments
