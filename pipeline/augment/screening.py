"""Which copies serve nowhere, and which not in the training for a fold: what needs more than the copy and its row to see."""

import json
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.artifacts.copies import BARRED_SCHEMA, Copies, no_copies
from pipeline.artifacts.table import HOLDOUT_FOLD, Folds, Table
from pipeline.contracts import TaskKind
from pipeline.data.fold_jobs import fold_jobs, rows_digest, targets_of
from pipeline.reproducibility import derive_seed, numerics
from pipeline.text.near_duplicates import NearTexts, hash_texts, row_texts
from pipeline.units.execution import run_units
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit

if TYPE_CHECKING:
    from pipeline.params.augment import Augment
    from pipeline.params.fields import Component
    from pipeline.params.root import Params
    from pipeline.units.execution import Workspace

UNIT_FLIPS = "flips.json"
# What is kept of every copy: the text as a hash, the place as the number of a task, repeat and fold.
COMPARED = {
    "step": "int16", "edit_distance": "int32", "reason": "object", "place": "int32", "text": "uint64", "lot": "int64",
}  # fmt: skip


def screen(
    batches: Iterable[pd.DataFrame], table: Table, folds: Folds, *, settings: "Augment", similarity: float | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what a look at all rows and all copies finds of copies; of these no more than a batch is held at once.

    First `step, edit_distance, reason` of each copy in their order, the reason null where a copy is kept; then the folds
    from which those that are kept are barred, as in `Copies`.

    Args:
        batches: copies as in `Copies`, with the number of the `step` that made each; those of a batch have one task, repeat
            and fold, and batches of one task stand together.
        table: the rows.
        folds: the fold manifest.
        settings: how many copies there may be.
        similarity: from which texts are near-duplicates; None takes equal ones only.
    """
    sizes = folds.rows.groupby(["task", "repeat", "fold"]).size()
    numbers = {task_repeat_fold: number for number, task_repeat_fold in enumerate(sizes.index)}
    batch_facts, barred = [pd.DataFrame(columns=list(COMPARED))], [no_copies().barred.assign(number=0)]
    n_before = 0
    filled = (copies for copies in batches if len(copies))
    for task, of_task in groupby(filled, key=lambda copies: str(copies["task"].iloc[0])):
        rows = _Rows(task, table, folds, similarity)
        for copies in of_task:
            repeat, fold = (int(copies[name].iloc[0]) for name in ("repeat", "fold"))
            reasons, near = rows.compare(copies, repeat, fold)
            facts = copies[["step", "edit_distance"]].assign(reason=reasons, place=numbers[task, repeat, fold])
            # A twin counts within its task and repeat.
            facts["text"] = hash_texts(row_texts(copies)) ^ np.uint64(derive_seed(0, task, repeat))
            facts["lot"] = _lots(copies) if settings.max_ratio is not None else 0
            batch_facts.append(facts.astype(COMPARED))
            barred.append(near.assign(number=near["number"] + n_before))
            n_before += len(copies)
    facts = pd.concat(batch_facts, ignore_index=True).astype(COMPARED)
    facts["reason"] = facts["reason"].mask(facts["reason"].isna() & facts["text"].duplicated(), "equals another copy")
    if settings.max_ratio is not None:
        left = facts[facts["reason"].isna()]
        allowed = np.floor(settings.max_ratio * sizes.to_numpy())[left["place"]]
        facts.loc[left.index[left.groupby("place")["lot"].rank(method="first") > allowed], "reason"] = "over max_ratio"
    near = pd.concat(barred, ignore_index=True)
    kept = near[facts["reason"].isna().to_numpy()[near["number"].to_numpy(np.int64)]]
    return facts[["step", "edit_distance", "reason"]], kept[BARRED_SCHEMA.names].reset_index(drop=True)


class _Rows:
    """The training rows of a task, with which copies are compared."""

    def __init__(self, task: str, table: Table, folds: Folds, similarity: float | None) -> None:
        train = table.select(task, "train")
        texts = row_texts(train)
        self.hashes, self.near = hash_texts(texts), NearTexts(texts, similarity=similarity)
        plan = folds.rows[folds.rows["task"] == task]
        of_rows = plan.pivot(index="row_id", columns="repeat", values="fold").reindex(train["row_id"])
        self.folds = {int(str(repeat)): of_repeat.to_numpy(np.int16) for repeat, of_repeat in of_rows.items()}

    def compare(self, copies: pd.DataFrame, repeat: int, fold: int) -> tuple[np.ndarray, pd.DataFrame]:
        """Return why copies of one fold are dropped, or None, and the `number` of those barred, with the folds."""
        texts = row_texts(copies)
        numbers, rows = self.near.pairs(texts.to_pylist())
        fold_of_row = self.folds[repeat][rows]
        reasons = np.full(len(copies), None, dtype=object)
        reasons[np.isin(hash_texts(texts), self.hashes)] = "equals another row"
        in_holdout = fold_of_row == HOLDOUT_FOLD
        reasons[numbers[in_holdout]] = "nearly equals a row of the hold-out"
        elsewhere = ~in_holdout & (fold_of_row != fold)
        barred = copies[["copy_id", "task", "repeat"]].iloc[numbers[elsewhere]]
        barred = barred.assign(fold=fold_of_row[elsewhere], reason="nearly equals a row of the fold")
        return reasons, barred.assign(number=numbers[elsewhere]).drop_duplicates(["number", "fold"])


def _lots(copies: pd.DataFrame) -> list[int]:
    drawn = zip(copies["seed"], copies["copy_id"], strict=True)
    return [derive_seed(int(seed), "cap", copy_id.rpartition(".")[2]) for seed, copy_id in drawn]


def flips(copies: Copies, params: "Params", table: Table, folds: Folds, *, recipe: str) -> pd.DataFrame:
    """Return from which folds copies are barred since the fold's own quick model, right about the parent, surely flips.

    The columns are those of `Copies.barred`.
    """
    quality = params.augment.quality
    jobs = fold_jobs(table, folds, copies, seed=params.seed)
    units: list[Any] = []
    for job in jobs:
        seed = derive_seed(params.seed, "flips", job.task, job.repeat, job.fold)
        depends_on = {
            "step": "flips", "recipe": recipe, "model": quality.flip_model.model_dump(),
            "confidence": quality.flip_confidence, "rows": rows_digest(job.fitted), "copies": rows_digest(job.copies),
            "seed": seed, "numerics": numerics(params.run.device, params.run.threads_per_worker),
        }  # fmt: skip
        arguments = {
            "rows": job.fitted, "copies": job.copies, "n_outputs": len(table.labels[job.task]),
            "kind": table.kind(job.task), "model": quality.flip_model, "confidence": quality.flip_confidence, "seed": seed,
        }  # fmt: skip
        units.append((Unit(f"flips/{job.name}", depends_on), find_flips, arguments))
    run_units(units, run=params.run, stage=Stage("augment-flips"))
    barred = [no_copies().barred]
    for job, (unit, *_) in zip(jobs, units, strict=True):
        ids = json.loads((unit.result / UNIT_FLIPS).read_text(encoding="utf-8"))
        facts = {"task": job.task, "repeat": job.repeat, "fold": job.fold, "reason": "the fold's own model flips"}
        barred.append(pd.DataFrame({"copy_id": pd.Series(ids, dtype="str"), **facts}))
    return pd.concat(barred, ignore_index=True)


def find_flips(
    workspace: "Workspace", *, rows: pd.DataFrame, copies: pd.DataFrame, n_outputs: int, kind: TaskKind,
    model: "Component", confidence: float, seed: int,
) -> None:  # fmt: skip
    """Write the ids of the copies on which a model of the fold's training rows flips, into the workspace's result."""
    judge = model.build(n_outputs=n_outputs, seed=seed)
    judge.fit(rows[["text", "text_pair"]], targets_of(rows))
    flipped: list[str] = []
    if len(copies):
        targets, parents = targets_of(copies), rows[["text", "text_pair"]].iloc[copies["parent"]]
        of_copies = judge.predict(copies[["text", "text_pair"]])
        of_parents = judge.predict(parents.reset_index(drop=True))
        flips_label = (kind.errors(targets, of_copies) > 0) & (kind.errors(targets, of_parents) == 0)
        sure = np.exp(kind.sureness(kind.logits(of_copies))) >= confidence
        flipped = copies.loc[flips_label & sure, "copy_id"].tolist()
    (workspace.result / UNIT_FLIPS).write_text(json.dumps(flipped), encoding="utf-8")
