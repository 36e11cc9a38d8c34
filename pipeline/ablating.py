"""Does it pay? Choices tried on the same folds and seeds, with the paired difference and its interval."""

import datetime
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import artifacts
from pipeline.artifacts import Folds, Predictions, Table
from pipeline.exceptions import ParamsError
from pipeline.finetuning import finetune
from pipeline.params_yaml import expected
from pipeline.probabilities import probabilities_of
from pipeline.recipes import encoder_recipe, stage_recipe
from pipeline.reproducibility import derive_seed
from pipeline.scoring import bootstrap_scores, interval
from pipeline.stitching import stitch

if TYPE_CHECKING:
    from pipeline.params import Params

REFERENCE = "train"
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
            ids = folds.rows.query("task == @task and fold >= 0")["row_id"].unique().tolist()
            means = [
                np.mean([probabilities_of(one[task], "oof", ids) for one in members.values()], axis=0)
                for members in (encoders, stitched)
            ]
            if variant == REFERENCE:
                blends[task]["encoders alone"] = means[0]
            blends[task][variant] = means[1]
            blends[task][f"{variant}, with the encoders"] = np.mean(means, axis=0)
    paths = {task: artifacts.ABLATIONS / f"stitch-{task}.json" for task in table.labels}
    for task, path in paths.items():
        artifacts.write_json(path, _compare(params, table, folds, task, blends[task]))
    return paths


def _predictions_of(
    variant: str, params: "Params", table: Table, folds: Folds
) -> tuple[dict[str, dict[str, Predictions]], dict[str, dict[str, Predictions]]]:
    """Return, by model and task, the predictions of a variant's encoders and of its stitched models."""
    own = params.model_copy(update={"stitch": params.stitch.model_copy(update=HEAD_VARIANTS[variant])})
    folder, finetuned = artifacts.ABLATIONS / variant, artifacts.OUT / "finetune"
    if variant == "held_out":
        finetuned = folder / "finetune"
        encoders = {name: one.model_copy(update={"epoch_selection": "inner"}) for name, one in params.encoders.items()}
        own = own.model_copy(update={"encoders": encoders})
        for name, settings in encoders.items():
            finetune(
                name, table, folds, settings=settings, recipe=encoder_recipe(own, name),
                metrics={task: one.metric for task, one in params.tasks.items()}, seed=params.seed, run=params.run,
                folder=finetuned / name,
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


def _compare(
    params: "Params", table: Table, folds: Folds, task: str, blends: Mapping[str, np.ndarray]
) -> dict[str, Any]:
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
    reference = list(blends).index(REFERENCE)
    found = []
    for position, (name, score) in enumerate(scores.items()):
        own = interval(score, resampled[position])
        difference = interval(score - scores[REFERENCE], resampled[position] - resampled[reference])
        found.append(
            {
                "variant": name,
                "score": score,
                "low": own.low,
                "high": own.high,
                "difference": difference.value,
                "difference_low": difference.low,
                "difference_high": difference.high,
            }
        )
    n_models = len(params.stitch.models(list(params.encoders)))
    note = f"Out-of-fold scores of the mean over {n_models} stitched models; differences from {REFERENCE} are paired."
    return {
        "task": task,
        "metric": params.tasks[task].metric.name,
        "reference": REFERENCE,
        "rows": found,
        "note": note,
        "date": datetime.date.today().isoformat(),
    }
