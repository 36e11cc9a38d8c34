"""One setting of one model, trained aside on the folds of the competition: its predictions, and what they took."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.copies import Copies, read_copies
from pipeline.artifacts.histories import UnitRecord, read_history
from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.augment.augmenting import augment
from pipeline.base_models.baselining import run_baseline
from pipeline.experiments.paired_table import finetune_aside, read_by_task
from pipeline.experiments.variants import STITCHED
from pipeline.params.root import Params
from pipeline.recipes.stage_recipes import stage_recipe
from pipeline.stitch.stitching import stitch


@dataclass(frozen=True)
class Trained:
    """By task the predictions of each of the models whose mean is scored, and what the training of all recorded."""

    models: list[dict[str, Predictions]]
    units: list[UnitRecord]


def train_aside(
    model: str, params: Params, table: Table, folds: Folds, *, copies: Copies | None, folder: Path
) -> Trained:
    """Train a model, as params say, on all folds; what the unit store has is not trained again.

    Args:
        model: an encoder, a baseline, or `stitched` for all stitched models, whose encoders are then trained too.
        copies: of the training rows, for encoders that take them.
        folder: for what `dvc repro` keeps in `out/`; removed afterwards.
    """
    if model in params.baselines:
        settings, recipe = params.baselines[model], stage_recipe(params, "baseline")
        made = run_baseline(model, table, folds, baseline=settings, recipe=recipe, seed=params.seed, run=params.run)
        return Trained([made], [])
    encoders = list(params.encoders) if model == STITCHED else [model]
    for encoder in encoders:
        finetune_aside(encoder, params, table, folds, folder=folder / "finetune", copies=copies)
    paths = [folder / "finetune" / encoder for encoder in encoders]
    units = [unit for path in paths for unit in read_history(path)]
    if model == STITCHED:
        recipe = stage_recipe(params, "stitch")
        stitch(params, table, folds, recipe=recipe, folder=folder / "stitch", finetuned=folder / "finetune")
        paths = [folder / "stitch" / name for name in params.stitch.models(encoders)]
        units += [unit for path in paths for unit in read_history(path)]
    trained = Trained([read_by_task(path, table, folds) for path in paths], units)
    shutil.rmtree(folder)  # the units keep what was computed
    return trained


def augment_aside(params: Params, table: Table, folds: Folds, *, folder: Path) -> Copies:
    """Return the copies that the steps of params make, made aside."""
    augment(params, table, folds, recipe=stage_recipe(params, "augment"), folder=folder)
    copies = read_copies(manifest=folds.digest, folder=folder)
    shutil.rmtree(folder)
    return copies
