"""Which layer serves best: linear models of each layer of an encoder before fine-tuning, on the folds of the competition."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import components
from pipeline.artifacts.predictions import read_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.data.fold_jobs import FoldJob, fold_jobs, gather_predictions, raw_texts, rows_digest, targets_of
from pipeline.errors.exceptions import ParamsError, expected
from pipeline.experiments.fold_table import ERROR, FoldScorer, fold_rows
from pipeline.experiments.layer_features import candidates, extract_layers, layer_name, score_layers
from pipeline.experiments.paired_table import write_table
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.params.root import Params
from pipeline.recipes.sources import named_components, source_digest, unit_code
from pipeline.reproducibility import digest, numerics
from pipeline.stitch.states import Base
from pipeline.units.execution import Job, run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit

FEATURES_START = ("pipeline.experiments.layer_features", "extract_layers")
SCORES_START = ("pipeline.experiments.layer_features", "score_layers")


def ablate_layers(
    params: Params, table: Table, folds: Folds, *, encoder: str, pooling: str = "mean"
) -> dict[str, Path]:
    """Score linear models of each layer of a frozen encoder, and of mixes, out-of-fold; write a table per task.

    Args:
        params, table, folds: the competition's.
        encoder: whose layers, as it is before fine-tuning.
        pooling: what makes a vector of a layer's token states; one that has nothing to learn.

    Returns:
        The path of each task's table, JSON; differences are from the last layer.

    Raises:
        ParamsError: if the encoder or pooling is unknown, or has something to learn.
    """
    if encoder not in params.encoders:
        raise ParamsError(f"encoder: {expected(encoder, params.encoders)}")
    pooled_by = _pooling(pooling)
    table = table.only("train")  # test rows have nothing to say here
    plans = [
        _plan(params, table, job, encoder, pooled_by, folds.digest) for job in fold_jobs(table, folds, seed=params.seed)
    ]
    waiting = {plan.features[0].key: plan.features for plan in plans if not plan.scoring[0].is_finished()}
    run_units(list(waiting.values()), run=params.run, stage=Stage("layers", model=encoder))
    on_cpu = params.run.model_copy(update={"device": "cpu"})
    run_units([plan.scoring for plan in plans], run=on_cpu, stage=Stage("layers-scores", model=encoder))
    for folder in {plan.features[0].folder for plan in plans}:
        shutil.rmtree(folder, ignore_errors=True)  # what was made of them stays
    note = (
        f"Linear models of the states of {encoder} before fine-tuning, pooled by {pooling}, each one's penalty chosen on the "
        f"fold's training rows. {ERROR}."
    )
    return {task: _write(task, plans, params, table, folds, note) for task in table.labels}


@dataclass(frozen=True)
class _Plan:
    """The units of one fold: the vectors of all rows, which folds may share, and the models of them."""

    job: FoldJob
    features: Job
    scoring: Job


def _pooling(name: str) -> Component:
    known = components.available("poolings")
    if name not in known:
        raise ParamsError(f"pooling: {expected(name, known)}")
    pooling = Component(kind="poolings", name=name)
    if any(True for _ in pooling.build(hidden_size=4, n_layers=1).parameters()):
        raise ParamsError(
            f"pooling: must have nothing to learn, as the encoder is frozen, got {name}. Take another one."
        )
    return pooling


def _plan(params: Params, table: Table, job: FoldJob, encoder: str, pooling: Component, manifest: str) -> _Plan:
    settings, kind = params.encoders[encoder], table.kind(job.task)
    rows = table.select(job.task, "train")
    base, texts = _base(encoder, settings, job, pooling), rows[["text", "text_pair"]]
    where = {"step": "layers", "rows": rows_digest(texts), "pooling": pooling.model_dump()}
    where |= {"numerics": numerics(params.run.device, params.run.threads_per_worker)}
    features = Unit(f"{encoder}/layers", {**base.depends_on(), **where})
    oof = job.predicted[job.predicted["split"] == "oof"].reset_index(drop=True)
    places = pd.Series(np.arange(len(rows)), rows["row_id"])
    labels, targets = table.labels[job.task], targets_of(job.fitted)
    fields = {
        "task": job.task,
        "labels": kind.outputs(labels),
        "manifest": manifest,
        "recipe": "",
        "seed": job.run_seed,
    }
    arguments: dict[str, Any] = {
        "features": features.result, "fitted": places[job.fitted_ids].to_numpy(), "targets": targets,
        "clusters": job.fitted["cluster"].to_numpy(),
        "scored": places[oof["row_id"]].to_numpy(), "rows": oof, "kind": kind, "n_values": len(labels), "fields": fields,
    }  # fmt: skip
    depends_on = {
        "step": "layers-scores", "features": features.key,
        "code": digest(unit_code(SCORES_START, [params.tasks[job.task].kind])),
        "fitted": job.fitted_ids.tolist(), "targets": targets.tolist(), "clusters": job.fitted["cluster"].tolist(),
        "scored": rows_digest(oof),
        "labels": labels, "kind": table.kinds[job.task], "numerics": numerics("cpu", params.run.threads_per_worker),
    }  # fmt: skip
    extracting = {"base": base, "rows": texts, "pooling": pooling}
    scoring = Unit(f"{encoder}/layers/{job.name}", depends_on)
    return _Plan(job, (features, extract_layers, extracting), (scoring, score_layers, arguments))


def _base(encoder: str, settings: Encoder, job: FoldJob, pooling: Component) -> Base:
    """Return the encoder as a fold builds it, of its own training texts where it is made of texts: others share it."""
    needed = components.needed(settings.source.kind, settings.source.name)
    texts: Sequence[str] = raw_texts(job.to_fit) if "texts" in needed else []
    seed = job.seed if "seed" in needed else 0
    reads = {"window": None, "window_pooling": None, "max_length": settings.longest_input}
    code = digest(
        [unit_code(FEATURES_START, [*named_components(settings.source), pooling]), source_digest(settings.source)]
    )
    built = digest({"source": settings.source.model_dump(), "texts": texts, "seed": seed})
    settings = settings.reading(job.reading.fields).model_copy(update=reads)
    return Base(encoder, settings, Path(), built, code, "last", "refuse", fresh=(texts, seed))


def _write(task: str, plans: list[_Plan], params: Params, table: Table, folds: Folds, note: str) -> Path:
    jobs, results = zip(*((plan.job, plan.scoring[0].result) for plan in plans if plan.job.task == task), strict=True)
    scorer, scores, n_states = FoldScorer(task, params, table, folds), dict[str, np.ndarray](), 0
    for number in range(len(list(results[0].glob("*.parquet")))):
        paths = [result / f"{number}.parquet" for result in results]
        name = read_predictions(paths[0], manifest=folds.digest).model
        found = gather_predictions(paths, jobs, model=name, task=task, manifest=folds.digest)
        scores[name] = scorer.score([found])
        n_states += name == layer_name(number)
    last = layer_name(n_states - 1)
    rows, chance = fold_rows(scores, scorer, reference=last, seed=params.seed)
    rows.sort(key=lambda row: list(candidates(n_states)).index(row["variant"]))  # as they lie on one another
    return write_table("layers", task, rows, params=params, reference=last, chance=chance, note=note)
