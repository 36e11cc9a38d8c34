"""Do copies pay: each kind of copy and each objective, on the same folds and seeds."""

import logging
from pathlib import Path

import numpy as np

from pipeline import components
from pipeline.artifacts.paths import ABLATIONS
from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import Folds, Table
from pipeline.errors.exceptions import ParamsError, expected
from pipeline.experiments.paired_table import scored_ids, write_tables
from pipeline.experiments.trained import augment_aside, train_aside
from pipeline.params.augment import Step
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.params.root import Params

log = logging.getLogger(__name__)
NO_COPIES = "no copies"


def ablate_augment(
    params: Params,
    table: Table,
    folds: Folds,
    *,
    encoder: str,
    steps: list[str] | None = None,
    equal_steps: bool = True,
) -> dict[str, Path]:
    """Train one encoder without copies, with those of each step and of all, and under other objectives; write the tables.

    Args:
        params, table, folds: the competition's, with the steps to try in `augment.steps`.
        encoder: which is trained.
        steps: names of steps or of `objectives/` to try, None for all steps, all together, and all objectives that can be.
        equal_steps: whether models that learn from copies get fewer epochs, so that all take about the same number of
            optimizer steps; otherwise all take the same epochs, and copies bring further steps.

    Returns:
        The path of each task's table, JSON.

    Raises:
        ParamsError: if the encoder or a step is unknown, or there is no step.
    """
    if encoder not in params.encoders:
        raise ParamsError(f"encoder: {expected(encoder, params.encoders)}")
    variants = _variants(params, encoder)
    for name in steps or ():
        if name not in variants:
            raise ParamsError(f"steps: {expected(name, variants)}")
    if not params.augment.transductive:
        table = table.only("train", "unlabelled")
    blends: dict[str, dict[str, np.ndarray]] = {task: {} for task in table.labels}
    facts: dict[str, dict[str, int]] = {}
    for variant in dict.fromkeys([NO_COPIES, *(steps or variants)]):
        log.info("ablate: %s", variant)
        predictions, facts[variant] = _augmented(*variants[variant], params, table, folds, encoder, equal_steps)
        for task in table.labels:
            ids = scored_ids(folds, task)
            blends[task][variant] = probabilities_of(predictions[task], "oof", ids, kind=table.kind(task))
    same = "about as many steps" if equal_steps else "as many epochs"
    note = f"Out-of-fold scores of {encoder}, same folds and seeds, {same}; differences from {NO_COPIES} are paired."
    return write_tables("augment", params, table, folds, blends, reference=NO_COPIES, note=note, facts=facts)


def _variants(params: Params, encoder: str) -> dict[str, tuple[list[Step], Encoder]]:
    """Return what can be tried, by name: the steps that make copies, and the encoder's settings."""
    settings, steps = params.encoders[encoder], params.augment.steps
    alone = settings.model_copy(update={"augment": False})
    reads = components.constant("objectives", settings.objective.name, "READS")
    variants: dict[str, tuple[list[Step], Encoder]] = {NO_COPIES: (steps if reads else [], alone)}
    with_copies = settings.model_copy(update={"augment": True})
    for step in steps:
        same = sum(name.partition(" #")[0] == step.title for name in variants)
        variants[f"{step.title} #{same + 1}" if same else step.title] = ([step], with_copies)
    if len(steps) > 1:
        variants["all of them"] = (steps, with_copies)
    unlabelled = steps and (params.augment.transductive or all(task.unlabelled for task in params.tasks.values()))
    for name in components.available("objectives"):
        reads = components.constant("objectives", name, "READS")
        if name != settings.objective.name and (reads is None or unlabelled):
            objective = Component(kind="objectives", name=name)
            variants[name] = (steps if reads else [], alone.model_copy(update={"objective": objective}))
    return variants


def _augmented(
    steps: list[Step], settings: Encoder, params: Params, table: Table, folds: Folds, encoder: str, equal_steps: bool
) -> tuple[dict[str, Predictions], dict[str, int]]:
    """Return an encoder's predictions by task when it learns from the copies of some steps; with `n_copies` and `epochs`."""
    augmented = params.augment.model_copy(update={"steps": steps})
    tried = params.model_copy(update={"augment": augmented, "encoders": {encoder: settings}})
    copies = augment_aside(tried, table, folds, folder=ABLATIONS / "copies")
    n_copies = len(copies.rows) if settings.augment else 0
    if equal_steps:
        settings = settings.model_copy(update={"epochs": epochs_of_equal_steps(settings.epochs, folds, n_copies)})
        tried = tried.model_copy(update={"encoders": {encoder: settings}})
    trained = train_aside(encoder, tried, table, folds, copies=copies, folder=ABLATIONS / "trained")
    [predictions] = trained.models
    return predictions, {"n_copies": n_copies, "epochs": settings.epochs}


def epochs_of_equal_steps(epochs: int, folds: Folds, n_copies: int) -> int:
    """Return the epochs, at least 1, that take with copies about as many steps as `epochs` without.

    Args:
        epochs: those without copies.
        folds: the manifest; where a row is trained on, its copies are.
        n_copies: copies over all tasks, repeats and folds.
    """
    n_rows = int((folds.rows["fold"] >= 0).sum())
    return max(1, round(epochs * n_rows / (n_rows + n_copies)))
