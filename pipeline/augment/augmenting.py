"""Augmentation: copies of training rows, made fold by fold, each fold's from its own rows alone (leak rule 1).

So whatever an augmenter learns, a copy holds nothing of another fold, and it serves exactly where its parent is a training
row; `screening` finds where it may not serve all the same.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.artifacts.copies import (
    BARRED,
    COPIES,
    COPIES_SCHEMA,
    FOLDER,
    SUMMARY,
    UNLABELLED,
    UNLABELLED_SCHEMA,
    Copies,
    no_copies,
    write_part,
)
from pipeline.artifacts.files import write_json
from pipeline.artifacts.frames import read_frame
from pipeline.artifacts.table import Folds, Table
from pipeline.augment.quality_gate import read_record
from pipeline.augment.screening import flips, screen
from pipeline.augment.shard_copies import UNIT_COPIES, make_copies
from pipeline.augment.shards import Shard, plan_shards
from pipeline.errors.exceptions import ParamsError, expected
from pipeline.errors.failpoints import failpoint
from pipeline.text.words import is_mainly_unspaced
from pipeline.units.execution import run_units
from pipeline.units.stage import Stage

if TYPE_CHECKING:
    from pipeline.params.augment import Augment
    from pipeline.params.root import Params

log = logging.getLogger(__name__)
N_EXAMPLES = 4
N_READ = 1000  # texts that tell the script


def augment(params: "Params", table: Table, folds: Folds, *, recipe: dict[str, Any], folder: Path = FOLDER) -> None:
    """Make the copies of all steps, find where they may not serve, and write them with a summary into a folder.

    The `steps` and `flips` of the stage's recipe stand for code and files.

    Raises:
        ParamsError: if a step names a task or label that does not exist, or a lexicon or model is unusable.
    """
    settings = params.augment
    check_steps(settings, table)
    _warn_of_scripts(settings, table)
    shards = list(plan_shards(params, table, folds, recipe=recipe))
    if shards:
        units = [(shard.unit, make_copies, shard.arguments) for shard in shards]
        run_units(units, run=params.run, stage=Stage("augment"))
    failpoint("screen")
    similarity = params.folds.near_duplicate_similarity
    labelled = [shard for shard in shards if shard.source.fold is not None]
    facts, barred = screen(map(_read, labelled), table, folds, settings=settings, similarity=similarity)
    write = partial(write_part, manifest=folds.digest, folder=folder)
    write(COPIES, _kept(labelled, facts["reason"].isna().to_numpy()))
    if settings.quality.flip_confidence is not None:
        copies = Copies(read_frame(folder / COPIES.name)[0], barred, no_copies().unlabelled)
        barred = pd.concat([barred, flips(copies, params, table, folds, recipe=recipe["flips"])], ignore_index=True)
    write(BARRED, [barred])
    unlabelled = [_read_unlabelled(shard) for shard in shards if shard.source.fold is None]
    write(UNLABELLED, unlabelled)
    summary = {
        "steps": _summary(settings, labelled, facts),
        "barred": barred.groupby("reason").size().to_dict(),
        "n_unlabelled": sum(map(len, unlabelled)),
    }
    write_json(folder / SUMMARY.name, summary)


def _warn_of_scripts(settings: "Augment", table: Table) -> None:
    words = [part.name for step in settings.steps for flow in step.flows for part in flow if part.constant("SPARES")]
    for task in table.labels if words else ():
        if is_mainly_unspaced(table.select(task, "train")["text"].head(N_READ).tolist()):
            log.warning(
                "task %s: its texts are written without blanks, so that %s take what stands between two blanks for one word, "
                "often a whole phrase. Look at the copies, or prefer augmenters of sentences and language models.",
                task, ", ".join(dict.fromkeys(words)),
            )  # fmt: skip


def check_steps(settings: "Augment", table: Table) -> None:
    """Refuse steps that name a task or a label that does not exist; all problems at once."""
    problems = []
    for number, step in enumerate(settings.steps):
        path = f"augment.steps.{number}"
        unknown = [name for name in step.tasks or () if name not in table.labels]
        problems += [f"{path}.tasks: {expected(name, table.labels)}" for name in unknown]
        labels = sorted({label for task in step.tasks or table.labels for label in table.labels.get(task, ())})
        named = {"classes": step.classes or []}
        if isinstance(step.balance_to, str) and step.balance_to != "largest":
            named["balance_to"] = [step.balance_to]
        problems += [
            f"{path}.{key}: no row has this label: {expected(label, labels)}"
            for key, values in named.items()
            for label in values
            if label not in labels
        ]
    if problems:
        raise ParamsError("\n".join(problems))


def _read(shard: Shard) -> pd.DataFrame:
    """Return a shard's copies in the artifact's columns, with the number of the step."""
    rows = read_frame(shard.unit.result / UNIT_COPIES)[0]
    source = shard.source
    rows = rows.assign(task=source.task, repeat=source.repeat, fold=source.fold, step=shard.step)
    ids = rows["row_id"] + f"~{source.repeat}.{shard.step}." + rows["number"].astype("str")
    return rows.assign(copy_id=ids)[[*COPIES_SCHEMA.names, "step"]]


def _kept(shards: list[Shard], kept: np.ndarray) -> Iterator[pd.DataFrame]:
    """Yield each shard's copies that are kept; `kept` tells it of those of all shards."""
    n_before = 0
    for shard in shards:
        copies = _read(shard)
        yield copies[kept[n_before : n_before + len(copies)]]
        n_before += len(copies)


def _read_unlabelled(shard: Shard) -> pd.DataFrame:
    variants = read_frame(shard.unit.result / UNIT_COPIES)[0]
    variants = variants.rename(columns={"text": "variant", "text_pair": "variant_pair"})
    rows = shard.rows()[["row_id", "text", "text_pair"]]
    merged = rows.merge(variants, on="row_id", validate="1:1").assign(task=shard.source.task)
    return merged[UNLABELLED_SCHEMA.names]


def _summary(settings: "Augment", shards: list[Shard], facts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what became of each step: rows, copies, what was dropped and why, failures and examples."""
    steps = []
    for number, step in enumerate(settings.steps):
        records = [read_record(shard.unit.result) for shard in shards if shard.step == number]
        of_step = facts[facts["step"] == number]
        distances = of_step.loc[of_step["reason"].isna(), "edit_distance"]
        reasons = sum((record.dropped for record in records), Counter(of_step["reason"].dropna()))
        examples = [example for record in records for example in record.examples]
        kept = [example for example in examples if example["dropped"] is None][:N_EXAMPLES]
        first_dropped = {
            example["dropped"]: example for example in reversed(examples) if example["dropped"] is not None
        }
        steps.append({
            "name": step.title, "n_rows": sum(record.n_rows for record in records),
            "n_made": sum(record.n_made for record in records), "n_kept": len(distances), "dropped": dict(reasons),
            "failed": [failure for record in records for failure in record.failed],
            "mean_edit_distance": float(distances.mean()) if len(distances) else None,
            "examples": [*kept, *first_dropped.values()],
        })  # fmt: skip
    return steps
