"""Does stitching pay: what heads learn from, and which heads, on the same folds and seeds."""

import logging
from pathlib import Path

import numpy as np

from pipeline.artifacts.copies import read_copies
from pipeline.artifacts.paths import ABLATIONS
from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import Folds, Table
from pipeline.errors.exceptions import ParamsError, expected
from pipeline.experiments.paired_table import scored_ids, write_tables
from pipeline.experiments.trained import train_aside
from pipeline.experiments.variants import STITCHED
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


def ablate_stitch(params: Params, table: Table, folds: Folds, *, variants: list[str] | None = None) -> dict[str, Path]:
    """Stitch all pairs in every variant, score the mean of the stitched models out-of-fold, and write a table per task.

    Args:
        params, table, folds: the competition's; `stitch.head_rows` and `stitch.base` are replaced by each variant's.
        variants: keys of `HEAD_VARIANTS`, None for all; the reference is always among them.

    Returns:
        The path of each task's table, JSON.

    Raises:
        ParamsError: if a variant is unknown or there is no pair.
    """
    for name in variants or ():
        if name not in HEAD_VARIANTS:
            raise ParamsError(f"variants: {expected(name, HEAD_VARIANTS)}")
    n_models = len(params.stitch.models(list(params.encoders)))
    if n_models == 0:
        raise ParamsError("stitch.pairs: there is no pair to compare. Add encoders or pairs.")
    table = table.only("train")  # test rows have nothing to say here
    blends: dict[str, dict[str, np.ndarray]] = {task: {} for task in table.labels}
    for variant in dict.fromkeys([REFERENCE, *(variants or HEAD_VARIANTS)]):
        log.info("ablate: %s", variant)
        sides = _predictions_of(variant, params, table, folds)
        for task in table.labels:
            ids, kind = scored_ids(folds, task), table.kind(task)
            means = [
                np.mean([probabilities_of(model[task], "oof", ids, kind=kind) for model in models], axis=0)
                for models in sides
            ]
            if variant == REFERENCE:
                blends[task]["encoders alone"] = means[0]
            blends[task][variant] = means[1]
            blends[task][f"{variant}, with the encoders"] = np.mean(means, axis=0)
    note = f"Out-of-fold scores of the mean over {n_models} stitched models; differences from {REFERENCE} are paired."
    return write_tables("stitch", params, table, folds, blends, reference=REFERENCE, note=note)


def _predictions_of(
    variant: str, params: Params, table: Table, folds: Folds
) -> tuple[list[dict[str, Predictions]], list[dict[str, Predictions]]]:
    """Return, by task, the predictions of each of a variant's encoders, and of each of its stitched models."""
    tried = params.model_copy(update={"stitch": params.stitch.model_copy(update=HEAD_VARIANTS[variant])})
    if variant == "held_out":
        anew = {"epoch_selection": "inner"}
        encoders = {name: settings.model_copy(update=anew) for name, settings in params.encoders.items()}
        tried = tried.model_copy(update={"encoders": encoders})
    copies = read_copies(manifest=folds.digest) if params.augment.steps else None
    trained = train_aside(STITCHED, tried, table, folds, copies=copies, folder=ABLATIONS / variant)
    return trained.encoders, trained.models
