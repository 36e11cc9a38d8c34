"""Does stitching pay: what heads learn from, and which heads, on the same folds and seeds."""

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts.copies import read_copies
from pipeline.artifacts.paths import ABLATIONS, OUT
from pipeline.artifacts.predictions import Predictions, probabilities_of, read_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.base_models.finetuning import finetune
from pipeline.errors.exceptions import ParamsError, expected
from pipeline.experiments.paired_table import scored_ids, write_tables
from pipeline.recipes.stage_recipes import encoder_recipe, stage_recipe
from pipeline.stitch.stitching import stitch

if TYPE_CHECKING:
    from pipeline.params.root import Params

log = logging.getLogger(__name__)
REFERENCE = "train"
HEAD_VARIANTS: dict[str, dict[str, str]] = {
    "train": {"head_rows": "train", "base": "finetuned"},
    "noised": {"head_rows": "noised", "base": "finetuned"},
    "pretrained": {"head_rows": "train", "base": "pretrained"},
    "held_out": {"head_rows": "held_out", "base": "finetuned"},
}


"""What heads learn from; `held_out` also trains the encoders anew, without the rows they spare for the heads."""


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
    table = table.only("train")  # test rows have nothing to say here
    blends: dict[str, dict[str, np.ndarray]] = {task: {} for task in table.labels}
    for variant in dict.fromkeys([REFERENCE, *(variants or HEAD_VARIANTS)]):
        log.info("ablate: %s", variant)
        encoders, stitched = _predictions_of(variant, params, table, folds)
        for task in table.labels:
            ids = scored_ids(folds, task)
            means = [
                np.mean(
                    [probabilities_of(one[task], "oof", ids, kind=table.kind(task)) for one in members.values()], axis=0
                )
                for members in (encoders, stitched)
            ]
            if variant == REFERENCE:
                blends[task]["encoders alone"] = means[0]
            blends[task][variant] = means[1]
            blends[task][f"{variant}, with the encoders"] = np.mean(means, axis=0)
    n_models = len(params.stitch.models(list(params.encoders)))
    note = f"Out-of-fold scores of the mean over {n_models} stitched models; differences from {REFERENCE} are paired."
    return write_tables("stitch", params, table, folds, blends, reference=REFERENCE, note=note)


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
                task: read_predictions(place / name / f"{task}.parquet", manifest=folds.digest) for task in table.labels
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
