"""Does it pay? Choices tried on the same folds and seeds, with the paired difference and its interval."""

import datetime
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import artifacts, components
from pipeline.artifacts import Folds, Predictions, Table
from pipeline.augmenting import augment
from pipeline.copies import read_copies
from pipeline.exceptions import ParamsError
from pipeline.finetuning import finetune
from pipeline.params_base import Component
from pipeline.params_yaml import expected
from pipeline.paths import ABLATIONS, OUT
from pipeline.probabilities import probabilities_of
from pipeline.recipes import encoder_recipe, stage_recipe
from pipeline.reproducibility import derive_seed
from pipeline.scoring import bootstrap_scores, interval
from pipeline.stitching import stitch

if TYPE_CHECKING:
    from pipeline.params import Encoder, Params
    from pipeline.params_augment import Step

REFERENCE = "train"
NO_COPIES = "no copies"
HEAD_VARIANTS: dict[str, dict[str, str]] = {
    "train": {"head_rows": "train", "base": "finetuned"},
    "noised": {"head_rows": "noised", "base": "finetuned"},
    "pretrained": {"head_rows": "train", "base": "pretrained"},
    "held_out": {"head_rows": "held_out", "base": "finetuned"},
}
"""What heads learn from; `held_out` also trains the encoders anew, without the rows they spare for the heads."""

log = logging.getLogger(__name__)


def ablate_stitch(
    params: "Params", table: Table, folds: Folds, *, variants: list[str] | None = None
) -> dict[str, Path]:
    """Stitch all pairs in every variant, score the mean of the stitched models out-of-fold, and write a table per task.

    Args:
        params: the competition's; `stitch.head_rows` and `stitch.base` are replaced by each variant's.
        table: the rows.
        folds: the fold manifest.
        variants: keys of `HEAD_VARIANTS`, None for all; the reference is always among them.

    Returns:
        The path of each task's table, JSON.

    Raises:
        ParamsError: if a variant is unknown or there is no pair.
    """
    for name in variants or ():
        if name not in HEAD_VARIANTS:
            raise ParamsError(f"variants: {expected(name, HEAD_VARIANTS)}")
    if not params.stitch.models(list(params.encoders)):
        raise ParamsError("stitch.pairs: there is no pair to compare. Add encoders or pairs.")
    table = Table(table.rows[table.rows["split"] == "train"], table.labels)  # test rows have nothing to say here
    blends: dict[str, dict[str, np.ndarray]] = {task: {} for task in table.labels}
    for variant in dict.fromkeys([REFERENCE, *(variants or HEAD_VARIANTS)]):
        log.info("ablate: %s", variant)
        encoders, stitched = _predictions_of(variant, params, table, folds)
        for task in table.labels:
            ids = _scored_ids(folds, task)
            means = [
                np.mean([probabilities_of(one[task], "oof", ids) for one in members.values()], axis=0)
                for members in (encoders, stitched)
            ]
            if variant == REFERENCE:
                blends[task]["encoders alone"] = means[0]
            blends[task][variant] = means[1]
            blends[task][f"{variant}, with the encoders"] = np.mean(means, axis=0)
    n_models = len(params.stitch.models(list(params.encoders)))
    note = f"Out-of-fold scores of the mean over {n_models} stitched models; differences from {REFERENCE} are paired."
    return _write("stitch", params, table, folds, blends, reference=REFERENCE, note=note)


def ablate_augment(
    params: "Params",
    table: Table,
    folds: Folds,
    *,
    encoder: str,
    steps: list[str] | None = None,
    equal_steps: bool = True,
) -> dict[str, Path]:
    """Train one encoder without copies, with those of each step and of all, and under other objectives; write the tables.

    Args:
        params: the competition's, with the steps to try in `augment.steps`.
        table: the rows.
        folds: the fold manifest.
        encoder: the encoder to train.
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
        table = Table(table.rows[table.rows["split"] != "test"], table.labels)
    found: dict[str, dict[str, np.ndarray]] = {task: {} for task in table.labels}
    facts: dict[str, dict[str, int]] = {}
    for variant in dict.fromkeys([NO_COPIES, *(steps or variants)]):
        log.info("ablate: %s", variant)
        predictions, facts[variant] = _augmented(*variants[variant], params, table, folds, encoder, equal_steps)
        for task in table.labels:
            found[task][variant] = probabilities_of(predictions[task], "oof", _scored_ids(folds, task))
    same = "about as many steps" if equal_steps else "as many epochs"
    note = f"Out-of-fold scores of {encoder}, same folds and seeds, {same}; differences from {NO_COPIES} are paired."
    return _write("augment", params, table, folds, found, reference=NO_COPIES, note=note, facts=facts)


def _variants(params: "Params", encoder: str) -> dict[str, tuple[list["Step"], "Encoder"]]:
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
    steps: list["Step"],
    settings: "Encoder",
    params: "Params",
    table: Table,
    folds: Folds,
    encoder: str,
    equal_steps: bool,
) -> tuple[dict[str, Predictions], dict[str, int]]:
    """Return an encoder's predictions by task when it learns from the copies of some steps; with `n_copies` and `epochs`."""
    augmented = params.augment.model_copy(update={"steps": steps})
    own = params.model_copy(update={"augment": augmented, "encoders": {encoder: settings}})
    folder = ABLATIONS / "copies"
    augment(own, table, folds, recipe=stage_recipe(own, "augment"), folder=folder)
    copies = read_copies(manifest=folds.digest, folder=folder)
    n_copies = len(copies.rows) if settings.augment else 0
    if equal_steps:
        settings = settings.model_copy(update={"epochs": epochs_of_equal_steps(settings.epochs, folds, n_copies)})
        own = own.model_copy(update={"encoders": {encoder: settings}})
    finetune(
        encoder, table, folds, settings=settings, recipe=encoder_recipe(own, encoder),
        metrics={task: one.metric for task, one in params.tasks.items()}, seed=params.seed, run=params.run,
        folder=folder / encoder, copies=copies,
    )  # fmt: skip
    predictions = {
        task: artifacts.read_predictions(folder / encoder / f"{task}.parquet", manifest=folds.digest)
        for task in table.labels
    }
    shutil.rmtree(folder)  # the units keep what was computed
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


def _predictions_of(
    variant: str, params: "Params", table: Table, folds: Folds
) -> tuple[dict[str, dict[str, Predictions]], dict[str, dict[str, Predictions]]]:
    """Return, by model and task, the predictions of a variant's encoders and of its stitched models."""
    own = params.model_copy(update={"stitch": params.stitch.model_copy(update=HEAD_VARIANTS[variant])})
    folder, finetuned = ABLATIONS / variant, OUT / "finetune"
    if variant == "held_out":
        finetuned = folder / "finetune"
        encoders = {name: one.model_copy(update={"epoch_selection": "inner"}) for name, one in params.encoders.items()}
        own = own.model_copy(update={"encoders": encoders})
        copies = read_copies(manifest=folds.digest) if params.augment.steps else None
        for name, settings in encoders.items():
            finetune(
                name, table, folds, settings=settings, recipe=encoder_recipe(own, name),
                metrics={task: one.metric for task, one in params.tasks.items()}, seed=params.seed, run=params.run,
                folder=finetuned / name, copies=copies,
            )  # fmt: skip
    stitch(
        own, table, folds, recipe=stage_recipe(own, "stitch"), folder=folder / "stitch", finetuned=finetuned
    )  # fmt: skip
    found = tuple(
        {
            name: {
                task: artifacts.read_predictions(place / name / f"{task}.parquet", manifest=folds.digest)
                for task in table.labels
            }
            for name in names
        }
        for place, names in (
            (finetuned, params.encoders),
            (folder / "stitch", params.stitch.models(list(params.encoders))),
        )
    )
    shutil.rmtree(folder)  # the units keep what was computed
    return found[0], found[1]


def _write(
    kind: str, params: "Params", table: Table, folds: Folds, blends: dict[str, dict[str, np.ndarray]], *,
    reference: str, note: str, facts: Mapping[str, dict[str, int]] | None = None,
) -> dict[str, Path]:  # fmt: skip
    """Write a table per task of what was tried and return the paths; `facts` are more columns by variant."""
    paths = {}
    for task, own in blends.items():
        rows = _compare(params, table, folds, task, own, reference)
        if facts is not None:
            rows = [{**row, **facts[row["variant"]]} for row in rows]
        values = {"task": task, "metric": params.tasks[task].metric.name, "reference": reference, "rows": rows}
        paths[task] = ABLATIONS / f"{kind}-{task}.json"
        artifacts.write_json(paths[task], {**values, "note": note, "date": datetime.date.today().isoformat()})
    return paths


def _scored_ids(folds: Folds, task: str) -> list[str]:
    ids: list[str] = folds.rows.query("task == @task and fold >= 0")["row_id"].unique().tolist()
    return ids


def _compare(
    params: "Params", table: Table, folds: Folds, task: str, blends: Mapping[str, np.ndarray], reference: str
) -> list[dict[str, Any]]:
    """Return the scores of blends over one task's rows, and their paired differences from the reference."""
    rows = folds.rows.query("task == @task and fold >= 0").drop_duplicates("row_id").set_index("row_id")
    numbers = {label: number for number, label in enumerate(table.labels[task])}
    labels = table.select(task, "train").set_index("row_id")["label"].loc[rows.index].map(numbers).to_numpy(np.int64)
    metric = params.tasks[task].metric.build(n_outputs=len(numbers))
    resampled = bootstrap_scores(
        labels, list(blends.values()), metric=metric, clusters=rows["cluster"].to_numpy(),
        n_resamples=params.stack.n_bootstrap, seed=derive_seed(params.seed, "ablate", task),
    )  # fmt: skip
    scores = {name: metric.score(labels, one) for name, one in blends.items()}
    place = list(blends).index(reference)
    found = []
    for position, (name, score) in enumerate(scores.items()):
        own = interval(score, resampled[position])
        differences = resampled[position] - resampled[place]
        difference = interval(score - scores[reference], differences)
        found.append(
            {
                "variant": name,
                "score": score,
                "low": own.low,
                "high": own.high,
                "difference": difference.value,
                "difference_low": difference.low,
                "difference_high": difference.high,
                "standard_error": float(np.std(differences, ddof=1)),
            }
        )
    return found
