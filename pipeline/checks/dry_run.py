"""A few real steps of every encoder before hours are spent: do its longest texts fit, is its loss finite, how long it takes.

Each encoder is built and trained by the code that fine-tunes it, on the first fold's rows, in a process of its own, so that
its memory is its own and a process that the system ends takes nothing with it. Nothing goes into the unit store.
"""

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline import components
from pipeline.artifacts.copies import COPIES, Copies, read_copies
from pipeline.artifacts.paths import FOLDS, TABLE
from pipeline.artifacts.table import Folds, Table, read_folds, read_table
from pipeline.base_models.finetuning import FORWARD_SHARE
from pipeline.base_models.fold_training import build_trainee
from pipeline.data.fold_jobs import FoldJob, augmented_rows, fold_jobs
from pipeline.data.preparing import prepare
from pipeline.errors.exceptions import (
    DataError,
    InterruptedRun,
    MachineError,
    ParamsError,
    PipelineError,
    as_pipeline_error,
)
from pipeline.number_formats import duration, percent, size_text
from pipeline.params.encoders import Encoder, Training
from pipeline.params.root import Params, Run
from pipeline.pretrain.corpus import corpus_of
from pipeline.pretrain.pretraining import build_pretraining
from pipeline.reproducibility import derive_seed, fixed_numerics
from pipeline.training.fold_trainer import Trainee
from pipeline.training.loop import train
from pipeline.training.plug_ins import plug_ins
from pipeline.training_contracts import Objective
from pipeline.units.devices import gpu_count, worker_count

HEAD = (
    f"{'':<20}{'tokens/step':>12}{'steps/fold':>12}{'s/step':>10}{'a fold':>14}{'all folds':>14}"
    f"{'peak memory':>13}{'cut off':>9}"
)


@dataclass(frozen=True)
class Measured:
    """What a few steps of an encoder showed; `peak_bytes` is of the GPU if it used one, else of the process."""

    tokens_per_step: float
    steps_per_epoch: int
    epochs: int
    seconds_per_step: float
    build_seconds: float
    peak_bytes: int
    truncated_ratio: float
    token_budget: int

    def fold_seconds(self, predicted_ratio: float) -> float:
        """Return about how long a fold takes that predicts so many rows for each row that it is trained on."""
        passes = self.epochs + FORWARD_SHARE * predicted_ratio
        return self.build_seconds + passes * self.steps_per_epoch * self.seconds_per_step

    def line(self, name: str, per_fold: float, in_all: float) -> str:
        """Return the line of the table."""
        return (
            f"{name:<20}{self.tokens_per_step:>12,.0f}{self.epochs * self.steps_per_epoch:>12,}"
            f"{self.seconds_per_step:>10.3f}{duration(per_fold):>14}{duration(in_all):>14}{size_text(self.peak_bytes):>13}"
            f"{percent(self.truncated_ratio):>9}"
        )


class Only:
    """An objective over some of its rows."""

    def __init__(self, objective: Objective, chosen: np.ndarray) -> None:
        self.lengths = objective.lengths[chosen]
        self.batch = lambda rows, step: objective.batch(chosen[rows], step)
        self.weights, self.loss_sums = objective.weights, objective.loss_sums


class StopAfter:
    """A monitor that ends a training after some steps and keeps the time of each."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps
        self.times: list[float] = []

    def progress(self, **values: float) -> None:
        """Note the time of a step."""
        if "step" in values:
            self.times.append(time.monotonic())

    def stop_requested(self) -> int | None:
        """Return a code once there were enough steps."""
        return 130 if len(self.times) >= self.n_steps else None

    @property
    def seconds_per_step(self) -> float:
        """Return the mean time between two steps, 0 where there was only one."""
        return (self.times[-1] - self.times[0]) / max(1, len(self.times) - 1)


def dry_run(params: Params, *, n_steps: int) -> Iterator[str]:
    """Yield, as lines of a table, what a few steps of every encoder take, and what that means for all of fine-tuning.

    The rows are those of the stages prepare and split where these have run, else those of the raw files. Timed are `n_steps`
    after two of the longest rows.

    Raises:
        PipelineError: if an encoder cannot be built, its longest rows do not fit into memory, or its loss is not finite.
    """
    table, folds, copies = _inputs(params)
    n_folds, n_workers = params.folds.n_splits * params.folds.n_repeats, worker_count(params.run)
    yield HEAD
    total = 0.0
    for name, settings in params.encoders.items():
        jobs = fold_jobs(table, folds, copies if settings.augment else None, seed=params.seed)
        of_first = {task: settings.training_steps[step] for step, task in settings.intermediate_steps.items()}
        if settings.pretrain is not None:
            n_units = n_folds if settings.pretrain.per_fold else 1
            before = _before(name, settings, params, table, folds, n_steps=n_steps)
            in_all = before.fold_seconds(0.0) * math.ceil(n_units / n_workers)
            total += in_all
            yield before.line(f"{name}, pretrain", before.fold_seconds(0.0), in_all)
        for job in [job for job in jobs if job.repeat == job.fold == 0]:
            n_outputs = len(table.kind(job.task).outputs(table.labels[job.task]))
            of_task = of_first.get(job.task, settings).for_task(job.task)
            measured = _try(name, job, of_task, params, n_outputs=n_outputs, n_steps=n_steps, copies=copies)
            per_fold = measured.fold_seconds(len(job.to_predict) / len(job.to_fit))
            in_all = per_fold * math.ceil(n_folds / n_workers)
            total += in_all
            yield measured.line(name if len(table.labels) == 1 else f"{name} {job.task}", per_fold, in_all)
            if measured.token_budget < settings.tokens_per_micro_batch:
                yield f"  memory allows {measured.token_budget} tokens per micro-batch: set tokens_per_micro_batch to that"
    yield f"fine-tuning: about {duration(total)} with {n_workers} worker(s); stitched heads and baselines are not included"
    if params.augment.steps and copies is None:
        yield "copies are not included: the stage augment has not run yet"


def measure(
    *, job: FoldJob, settings: Encoder, n_outputs: int, run: Run, n_steps: int, more: dict[str, pd.DataFrame]
) -> Measured:
    """Train an encoder for two steps of its longest rows and then for `n_steps` as they come, and return what that took.

    `n_outputs`: see `TaskKind.outputs`; `more` are copies and unlabelled rows, as `train_fold` takes them.

    Raises:
        ParamsError: if the longest row does not go through the model.
    """
    options: dict[str, Any] = {"n_outputs": n_outputs, "scorer": None, "seed": job.seed}
    options["settings"] = settings.reading(job.reading.fields)
    build = partial(build_trainee, rows=job.to_fit, **{**options, **more})
    return _measured(build, settings, run, n_steps)


def measure_pretraining(*, options: dict[str, Any], run: Run, n_steps: int) -> Measured:
    """Return what a further pre-training takes, tried as `measure` tries a fold's; `options` are of `build_pretraining`."""
    return _measured(lambda: build_pretraining(**options)[0], options["settings"].training, run, n_steps)


def _measured(build: Callable[[], Trainee], settings: Training, run: Run, n_steps: int) -> Measured:
    with fixed_numerics(run.threads_per_worker, on_gpu=gpu_count(run.device) > 0):
        started = time.monotonic()
        trainee = build()
        build_seconds = time.monotonic() - started
        budget = _try_longest(trainee, settings, run)
        fitting = settings.model_copy(update={"tokens_per_micro_batch": budget})
        clock = StopAfter(n_steps + 1)
        with suppress(InterruptedRun):
            _train(trainee, trainee.objective, fitting, run, clock)
    lengths = trainee.objective.lengths
    steps_per_epoch = math.ceil(len(lengths) / settings.batch_size)
    return Measured(
        tokens_per_step=float(lengths.sum()) / steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        epochs=settings.epochs,
        seconds_per_step=clock.seconds_per_step,
        build_seconds=build_seconds,
        peak_bytes=peak_bytes(),
        truncated_ratio=trainee.counts.get("n_truncated", 0) / trainee.counts["n_rows"],
        token_budget=budget,
    )


def _try_longest(trainee: Trainee, settings: Training, run: Run) -> int:
    """Train on the longest rows and return the tokens per micro-batch that fitted into memory."""
    lengths = trainee.objective.lengths
    longest = np.argsort(-lengths, kind="stable")[: settings.batch_size]
    twice = settings.model_copy(update={"epochs": 2})  # from the second step on the optimizer has its states
    try:
        return _train(trainee, Only(trainee.objective, longest), twice, run, None)
    except (IndexError, RuntimeError) as error:
        if isinstance(error, PipelineError):
            raise
        raise ParamsError(
            f"max_length: a row of {lengths.max()} tokens must go through the model, got {type(error).__name__}: "
            f"{error}. Lower max_length to the model's positions, or correct source.",
            code="E203",
        ) from error


def _train(trainee: Trainee, objective: Objective, settings: Training, run: Run, monitor: StopAfter | None) -> int:
    """Train without checkpoints and return the tokens per micro-batch that fitted into memory."""
    groups = [dict(group) for group in trainee.parameter_groups]  # the loop changes their rates
    options: dict[str, Any] = {"settings": settings, "seed": derive_seed(trainee.seed, "training"), "monitor": monitor}
    return train(
        trainee.model, objective, groups, device=run.device, **options, **plug_ins(settings, groups)
    ).token_budget


def _try(
    name: str, job: FoldJob, settings: Encoder, params: Params, *, copies: Copies | None, **options: int
) -> Measured:
    """Measure an encoder's training of a fold."""
    if copies is None and components.constant("objectives", settings.objective.name, "READS") == "unlabelled":
        raise DataError(
            f"encoders.{name}.objective: {settings.objective.name} reads variants of texts without labels, got none yet. "
            "Run dvc repro augment first."
        )
    more = augmented_rows(job, settings, copies)
    return _in_a_process(name, measure, job=job, settings=settings, run=params.run, more=more, **options)


def _before(name: str, settings: Encoder, params: Params, table: Table, folds: Folds, *, n_steps: int) -> Measured:
    """Measure an encoder's further pre-training."""
    if settings.pretrain is None:
        raise ValueError("the encoder is not pre-trained further.")
    corpus = corpus_of(table, folds, settings.pretrain, place=(0, 0) if settings.pretrain.per_fold else None)
    options: dict[str, Any] = {"source": settings.source, "max_length": settings.longest_input, "seed": params.seed}
    options |= {"texts": corpus.texts, "settings": settings.pretrain}
    return _in_a_process(name, measure_pretraining, options=options, run=params.run, n_steps=n_steps)


def _in_a_process(name: str, work: Callable[..., Measured], **arguments: Any) -> Measured:
    """Measure in a process of its own; its errors name the encoder."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(work, **arguments).result()
    except BrokenProcessPool as error:
        raise MachineError(
            f"encoders.{name}: the process that tried its longest texts must live, but it was ended, most often for want of "
            "memory. Lower tokens_per_micro_batch or max_length, or set gradient_checkpointing.",
            code="E403",
        ) from error
    except Exception as error:
        raise as_pipeline_error(error).within(f"encoders.{name}") from error


def _inputs(params: Params) -> tuple[Table, Folds, Copies | None]:
    """Return table, folds and copies of the stages, or where they have not run yet the raw rows in folds by position."""
    if TABLE.exists() and FOLDS.exists():
        folds = read_folds()
        return read_table(), folds, read_copies(manifest=folds.digest) if COPIES.exists() else None
    table = prepare(params.tasks)
    rows = table.rows.loc[table.rows["split"] == "train", ["row_id", "task"]].reset_index(drop=True)
    numbers = np.arange(len(rows))
    rows = rows.assign(repeat=0, fold=numbers % params.folds.n_splits, cluster=numbers)
    return table, Folds(rows, ""), None


def peak_bytes() -> int:
    """Return the most memory that this process has held at once: of the GPU if it used one, else of the machine."""
    if torch.cuda.is_available() and torch.cuda.max_memory_reserved():
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
