"""Fine-tuning: for every task, repeat and fold one model that never saw the fold, and its predictions of it.

Two units per fold: training, which knows nothing of the rows to predict, and prediction. So a second test file, or a
change to what is predicted, trains nothing again. Of several trainings, one after another, each has units of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.artifacts.copies import Copies
from pipeline.artifacts.histories import FirstRecord
from pipeline.artifacts.paths import FOLDS
from pipeline.artifacts.table import Folds, Table
from pipeline.base_models.fold_results import Trained, collect
from pipeline.base_models.fold_training import predict_fold, train_fold
from pipeline.base_models.further_training import train_further
from pipeline.base_models.intermediate_training import train_begun, train_shared_begun
from pipeline.base_models.pretrained_starts import pretraining_jobs, publish_starts
from pipeline.base_models.shared_training import TaskRows, train_shared
from pipeline.data.fold_jobs import FoldJob, augmented_rows, fold_jobs, rows_digest, trained_rows_digest
from pipeline.errors.exceptions import DataError
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.pretrain.corpus import Place
from pipeline.reproducibility import fold_seed, numerics, shared_fold
from pipeline.training.epoch_choice import epoch_scorer
from pipeline.units.budget import Budget
from pipeline.units.execution import Job, Work, run_units
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

    An encoder that is pre-trained further is so first; what came of it goes into `pretrained/`.

    Args:
        encoder: its name in params.yaml.
        recipe: its recipe, whose `train` and `predict` stand for settings and code.
        metrics: per task the metric.
        seed: of the whole run.
        copies: augmented copies of the training rows, for encoders that take them.
        budget: the time that there is for it.
    """
    jobs = fold_jobs(table, folds, copies if settings.augment else None, seed=seed)
    budget, first, steps = budget or Budget(), settings.intermediate_steps, settings.training_steps
    of_steps = {name: [job for job in jobs if job.task in settings.tasks_of(name, table.labels)] for name in steps}
    n_rows = {name: step.epochs * sum(len(job.fitted) for job in of_steps[name]) for name, step in steps.items()}
    n_later, last = sum(n_rows.values()) + FORWARD_SHARE * sum(len(job.predicted) for job in jobs), list(steps)[-1]
    places = list(dict.fromkeys((job.repeat, job.fold) for job in jobs))
    starts = pretraining_jobs(encoder, table, folds, places, settings=settings, recipe=recipe, seed=seed, run=run)
    if before := list({job[0].key: job for job in starts.values()}.values()):
        budget.more = n_later / sum(len(part["corpus"].texts) * part["settings"].epochs for *_, part in before)
        run_units(before, run=run, stage=Stage("finetune-pretrain", model=encoder), budget=budget)
    begun = {place: unit for place, (unit, *_) in starts.items()}
    plan = _Plan(encoder, settings, recipe, metrics, run, copies, seed, table, folds.digest, begun)
    trained: dict[str, Trained] = {}
    for name, step in steps.items():
        training, made = plan.units_of_step(name, step, of_steps[name], trained)
        trained |= made
        budget.more = (n_later := n_later - n_rows[name]) / n_rows[name]
        kind = "finetune-first" if name in first else "finetune" if name == last else f"finetune-{name}"
        run_units(training, run=run, stage=Stage(kind, encoder, first.get(name)), budget=budget)
    budget.more = 0.0
    predicting = [plan.predicting(job, trained[job.name]) for job in jobs]
    run_units(predicting, run=run, stage=Stage("predict", model=encoder), budget=budget)
    collect(
        folder, jobs, trained=[trained[job.name] for job in jobs], predicted=[unit for unit, *_ in predicting],
        table=table, folds=folds, more=publish_starts(folder, begun, settings),
    )  # fmt: skip


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
    starts: Mapping[Place, Unit]
    suffix: str = ""

    def units_of_step(
        self, name: str, settings: Encoder, jobs: Sequence[FoldJob], before: Mapping[str, Trained]
    ) -> tuple[list[Job], dict[str, Trained]]:
        """Return the units of one of `training_steps` and, by the jobs' names, its models, given those of the steps before.

        Each begins at models of its own fold only, which have seen the rows that it sees.
        """
        digests = self.recipe.get("steps", {})
        recipe = {**self.recipe, "train": digests.get(name, self.recipe["train"])}
        plan = replace(self, settings=settings, recipe=recipe, suffix=f"/{name}" if digests else "")
        origins = self._origins(name, jobs, before)
        first = {name: origin.first for name, origin in origins.items()}
        if name == "shared":
            shared = plan.shared(jobs, {job.name: before[job.name] for job in jobs if job.name in before}, origins)
            made = {j.name: Trained(unit, j.task, first.get(j.name, ())) for (unit, *_), own in shared for j in own}
            return [job for job, _ in shared], made
        units = {job.name: plan.training(job, before.get(job.name), origins.get(job.name)) for job in jobs}
        return list(units.values()), {
            name: Trained(unit, None, first.get(name, ())) for name, (unit, *_) in units.items()
        }

    def _origins(self, step: str, jobs: Sequence[FoldJob], before: Mapping[str, Trained]) -> dict[str, Trained]:
        """Return, by the jobs' names, the models of the same fold at whose encoders they begin, of the task learnt last.

        Their `first` holds what they learnt themselves too.
        """
        first = self.settings.intermediate_steps
        earlier = list(first.values())[: list(first).index(step) if step in first else None]
        origins = {}
        for job in jobs if earlier else ():
            if (model := before.get(replace(job, task=earlier[-1]).name)) is None:
                raise DataError(
                    f"{FOLDS}: task {earlier[-1]} must have rows in repeat {job.repeat}, fold {job.fold}, where "
                    f"{self.encoder} learns it first, got none. Lower folds.n_splits, or take it out of intermediate."
                )
            learnt: FirstRecord = {"task": earlier[-1], "key": model.unit.key}
            origins[job.name] = replace(model, first=(*model.first, learnt))
        return origins

    def training(self, job: FoldJob, start: Trained | None, origin: Trained | None) -> Job:
        """Return the unit that trains a fold's model, from where another one ended if there is a start.

        Else it begins at the encoder of `origin`, a model of another task, if there is one.
        """
        depends_on, arguments = self._task(job)
        depends_on |= {"step": "finetune", "recipe": self.recipe["train"], "seed": job.seed, "numerics": self._numerics}
        arguments["seed"] = job.seed
        work: Work = train_fold
        if start is not None:
            depends_on["start"], arguments["start"], work = [start.unit.key, job.task], start.folder, train_further
        elif origin is not None:
            depends_on["first"], arguments["first"], work = origin.unit.key, origin.folder, train_begun
        return Unit(f"{self.encoder}/{job.name}{self.suffix}", depends_on, self._described), work, arguments

    def shared(
        self, jobs: Sequence[FoldJob], starts: Mapping[str, Trained], origins: Mapping[str, Trained]
    ) -> list[tuple[Job, list[FoldJob]]]:
        """Return the units that each train one model of all tasks, with the folds that it is of."""
        units: list[tuple[Job, list[FoldJob]]] = []
        for place in dict.fromkeys((job.repeat, job.fold) for job in jobs):
            own = [job for job in jobs if (job.repeat, job.fold) == place]
            seed = fold_seed(self.seed, shared_fold((job.task for job in own), *place))
            made = {job.task: self._task(job) for job in own}
            depends_on = {"step": "finetune", "recipe": self.recipe["train"], "seed": seed, "numerics": self._numerics}
            depends_on |= {"tasks": {task: depends for task, (depends, _) in made.items()}}
            tasks = {job.task: TaskRows(**made[job.task][1], seed=job.seed) for job in own}
            arguments: dict[str, Any] = {"tasks": tasks, "settings": self._begun(self.settings, own[0]), "seed": seed}
            work: Work = train_shared
            if starts:
                depends_on["starts"] = [starts[job.name].unit.key for job in own]
                arguments["starts"] = [starts[job.name].folder for job in own]
            elif origin := origins.get(own[0].name):
                depends_on["first"], arguments["first"], work = origin.unit.key, origin.folder, train_shared_begun
            name = f"{self.encoder}/r{place[0]}-f{place[1]}{self.suffix}"
            units.append(((Unit(name, depends_on, self._described), work, arguments), own))
        return units

    @property
    def _numerics(self) -> dict[str, Any]:
        return numerics(self.run.device, self.run.threads_per_worker)

    @property
    def _described(self) -> dict[str, Any]:
        return {name: self.recipe[name] for name in ("settings", "source", "code") if name in self.recipe}

    def _settings(self, job: FoldJob) -> Encoder:
        """Return the settings as they are for a task and the fields of its texts."""
        return self._begun(self.settings.for_task(job.task).reading(job.reading.fields), job)

    def _begun(self, settings: Encoder, job: FoldJob) -> Encoder:
        """Return the settings with what was pre-trained for a fold in the place of the source, if anything was."""
        start = self.starts.get((job.repeat, job.fold))
        return settings if start is None else settings.beginning_at(start.result)

    def _task(self, job: FoldJob) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a task's part in a fold's training depends on, and its arguments."""
        metric, settings = self.metrics[job.task], self._settings(job)
        kind, labels = self.table.kind(job.task), self.table.labels[job.task]
        n_outputs = len(kind.outputs(labels))
        depends_on = {
            "rows": trained_rows_digest(job, settings), "labels": labels, "kind": self.table.kinds[job.task],
            "n_outputs": n_outputs, "metric": metric.model_dump() if settings.epoch_selection == "inner" else None,
        }  # fmt: skip
        if (start := self.starts.get((job.repeat, job.fold))) is not None:
            depends_on["pretrained"] = start.key
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
