"""Does a switch pay: a model under edits of params.yaml and without, on the same folds and seeds."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.artifacts.copies import read_copies
from pipeline.artifacts.paths import ABLATIONS
from pipeline.artifacts.table import Folds, Table
from pipeline.experiments.fold_table import ERROR, FoldScorer, costs, fold_rows
from pipeline.experiments.paired_table import write_table
from pipeline.experiments.trained import Trained, augment_aside, train_aside
from pipeline.experiments.variants import AS_IS
from pipeline.params.root import Params

log = logging.getLogger(__name__)


def train_variants(
    variants: Mapping[str, Params], table: Table, folds: Folds, *, model: str, n_seeds: int
) -> dict[str, list[Trained]]:
    """Return by name what the model became under each of the params, and each of `n_seeds` seeds from theirs on.

    The folds and the copies of rows are those of the first seed.
    """
    plain = variants[AS_IS]
    if not plain.augment.transductive:
        table = table.only("train", "unlabelled")  # test rows have nothing to say here
    trained: dict[str, list[Trained]] = {}
    for number, (name, params) in enumerate(variants.items()):
        if params.augment == plain.augment:
            copies = read_copies(manifest=folds.digest) if plain.augment.steps else None
        else:
            copies = augment_aside(params, table, folds, folder=ABLATIONS / "copies")
        trained[name] = []
        for seed in range(params.seed, params.seed + n_seeds):
            log.info("ablate: %s, seed %d (setting %d of %d)", name, seed, number + 1, len(variants))
            seeded = params.model_copy(update={"seed": seed})
            trained[name].append(train_aside(model, seeded, table, folds, copies=copies, folder=ABLATIONS / "trained"))
    return trained


def ablate_edits(
    variants: Mapping[str, Params], table: Table, folds: Folds, *, model: str, n_seeds: int = 1
) -> dict[str, Path]:
    """Train a model under each of some params, compare it with that of params.yaml, and write a table per task.

    Args:
        variants: params by name, as `read_variants` gives them.
        table, folds: the competition's.
        model: which is trained and scored.
        n_seeds: under how many seeds; a fold's score is the mean over them.

    Returns:
        The path of each task's table, JSON.
    """
    params = variants[AS_IS]
    trained = train_variants(variants, table, folds, model=model, n_seeds=n_seeds)
    facts = costs({name: [unit for one in of_seeds for unit in one.units] for name, of_seeds in trained.items()}, AS_IS)
    paths = {}
    for task in table.labels:
        scorer = FoldScorer(task, params, table, folds)
        scores = {
            name: np.mean([scorer.score([by_task[task] for by_task in one.models]) for one in of_seeds], axis=0)
            for name, of_seeds in trained.items()
        }
        rows, chance = fold_rows(scores, scorer, reference=AS_IS, seed=params.seed)
        seeds = f"{n_seeds} seeds, each fold's score their mean" if n_seeds > 1 else "one seed"
        device = facts[AS_IS]["device"]
        note = f"Out-of-fold scores of {model}, same folds, {seeds}. {ERROR}: {len(scores[AS_IS])} folds."
        if device:
            held = "the process, libraries and all" if device == "cpu" else "torch"
            note += f" Time is that of training, memory the most that {held} held at once, on {device}."
        rows = [row | facts[row["variant"]] for row in rows]
        paths[task] = write_table(
            "edits", task, rows, params=params, reference=AS_IS, chance=chance, note=note, model=model
        )
    return paths
