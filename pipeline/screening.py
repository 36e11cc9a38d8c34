"""Which copies serve nowhere, and which not in the training for a fold: what needs more than the copy and its row to see."""

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import artifacts
from pipeline.artifacts import Folds, Table
from pipeline.copies import BARRED_COLUMNS, UNLABELLED_COLUMNS, Copies
from pipeline.executing import run_units
from pipeline.folding import fold_jobs, rows_digest
from pipeline.near_duplicates import near_pairs, row_texts
from pipeline.reproducibility import derive_seed, numerics
from pipeline.units import Unit

if TYPE_CHECKING:
    from pipeline.executing import Workspace
    from pipeline.params import Augment, Component, Params

UNIT_FLIPS = "flips.json"


@dataclass(frozen=True)
class Screened:
    """Copies that are kept, the folds from which some are barred, and how many each step lost, by reason."""

    copies: pd.DataFrame
    barred: pd.DataFrame
    dropped: dict[int, Counter[str]] = field(default_factory=dict)


def screen(
    copies: pd.DataFrame, table: Table, folds: Folds, *, settings: "Augment", similarity: float | None
) -> Screened:
    """Return what is left of copies after a look at all rows and all copies.

    Args:
        copies: as in `Copies`, with the number of the `step` that made each.
        table: the rows.
        folds: the fold manifest.
        settings: how many copies there may be.
        similarity: from which texts are near-duplicates; None takes equal ones only.
    """
    barred = pd.DataFrame(columns=BARRED_COLUMNS)
    reasons = pd.Series(None, copies.index, dtype=object)
    if not len(copies):
        return Screened(copies, barred)
    for task in table.labels:
        train, own = table.select(task, "train"), copies[copies["task"] == task]
        texts, others = row_texts(own), row_texts(train)
        reasons[own.index] = _equal_to_others(own, texts, others)
        pairs = near_pairs(texts, others, similarity=similarity)
        near = own.iloc[pairs[0]][["copy_id", "task", "repeat", "fold"]].reset_index()
        near["parent_id"] = own["row_id"].iloc[pairs[0]].to_numpy()
        near["row_id"] = train["row_id"].iloc[pairs[1]].to_numpy()
        plan = folds.rows.loc[folds.rows["task"] == task, ["row_id", "repeat", "fold"]]
        near = near.merge(plan, on=["row_id", "repeat"], suffixes=("", "_of_row"), validate="m:1")
        in_holdout = near["fold_of_row"] == artifacts.HOLDOUT_FOLD
        reasons[near.loc[in_holdout, "index"].unique()] = "nearly equals a row of the hold-out"
        elsewhere = near[~in_holdout & (near["fold_of_row"] != near["fold"])]
        elsewhere = elsewhere.assign(fold=elsewhere["fold_of_row"], reason="nearly equals a row of the fold")
        barred = pd.concat([barred, elsewhere[BARRED_COLUMNS].drop_duplicates()], ignore_index=True)
    reasons = reasons.where(reasons.notna(), _over_the_cap(copies[reasons.isna()], table, folds, settings.max_ratio))
    return _without(Screened(copies, barred), reasons)


def flips(screened: Screened, params: "Params", table: Table, folds: Folds, *, recipe: str) -> Screened:
    """Bar copies from the folds whose own quick model, right about the parent, surely gives the copy another label."""
    quality = params.augment.quality
    copies = Copies(screened.copies, screened.barred, pd.DataFrame(columns=UNLABELLED_COLUMNS))
    jobs = fold_jobs(table, folds, copies)
    units: list[Any] = []
    for job in jobs:
        seed = derive_seed(params.seed, "flips", job.task, job.repeat, job.fold)
        depends_on = {
            "step": "flips",
            "recipe": recipe,
            "model": quality.flip_model.model_dump(),
            "confidence": quality.flip_confidence,
            "rows": rows_digest(job.fitted),
            "copies": rows_digest(job.copies),
            "seed": seed,
            "numerics": numerics(params.run.device, params.run.threads_per_worker),
        }
        arguments = {"rows": job.fitted, "copies": job.copies, "n_outputs": len(table.labels[job.task])}
        arguments |= {"model": quality.flip_model, "confidence": quality.flip_confidence, "seed": seed}
        units.append((Unit(f"flips/{job.name}", depends_on), find_flips, arguments))
    run_units(units, run=params.run, stage="augment-flips")
    found = [screened.barred]
    for job, (unit, *_) in zip(jobs, units, strict=True):
        ids = json.loads((unit.result / UNIT_FLIPS).read_text(encoding="utf-8"))
        place = {"task": job.task, "repeat": job.repeat, "fold": job.fold, "reason": "the fold's own model flips"}
        found.append(pd.DataFrame({"copy_id": pd.Series(ids, dtype="str"), **place})[BARRED_COLUMNS])
    return replace(screened, barred=pd.concat(found, ignore_index=True))


def find_flips(
    workspace: "Workspace",
    *,
    rows: pd.DataFrame,
    copies: pd.DataFrame,
    n_outputs: int,
    model: "Component",
    confidence: float,
    seed: int,
) -> None:
    """Write the ids of the copies on which a model of the fold's training rows flips, into the workspace's result."""
    judge = model.build(n_outputs=n_outputs, seed=seed)
    judge.fit(rows[["text", "text_pair"]], rows["label"].to_numpy(np.int64))
    flipped: list[str] = []
    if len(copies):
        labels, parents = copies["label"].to_numpy(), rows[["text", "text_pair"]].iloc[copies["parent"]]
        of_copies = judge.predict_log_probabilities(copies[["text", "text_pair"]])
        of_parents = judge.predict_log_probabilities(parents.reset_index(drop=True))
        flips_label = (of_copies.argmax(axis=1) != labels) & (of_parents.argmax(axis=1) == labels)
        flipped = copies.loc[flips_label & (np.exp(of_copies.max(axis=1)) >= confidence), "copy_id"].tolist()
    (workspace.result / UNIT_FLIPS).write_text(json.dumps(flipped), encoding="utf-8")


def _equal_to_others(copies: pd.DataFrame, texts: pa.Array, others: pa.Array) -> "pd.Series[Any]":
    """Return why a copy is superfluous, or None: its text is that of a row or of a copy before it in the same repeat."""
    reasons = pd.Series(None, copies.index, dtype=object)
    codes = pc.dictionary_encode(texts).indices.to_numpy()
    twice = pd.DataFrame({"text": codes, "repeat": copies["repeat"].to_numpy()}).duplicated()
    reasons[twice.to_numpy()] = "equals another copy"
    reasons[pc.is_in(texts, value_set=others).to_numpy(zero_copy_only=False)] = "equals another row"
    return reasons


def _over_the_cap(copies: pd.DataFrame, table: Table, folds: Folds, max_ratio: float | None) -> "pd.Series[Any]":
    """Return a reason for the copies over the cap of each fold, chosen by lot."""
    reasons = pd.Series(None, copies.index, dtype=object)
    if max_ratio is None:
        return reasons
    sizes = folds.rows.groupby(["task", "repeat", "fold"]).size()
    drawn = zip(copies["seed"], copies["copy_id"], strict=True)
    numbers = [derive_seed(int(seed), "cap", copy_id.rpartition(".")[2]) for seed, copy_id in drawn]
    lots = pd.Series(numbers, copies.index, dtype="int64")
    for task, repeat, fold in set(zip(copies["task"], copies["repeat"], copies["fold"], strict=True)):
        here = (copies["task"] == task) & (copies["repeat"] == repeat) & (copies["fold"] == fold)
        reasons[lots[here].sort_values().index[int(max_ratio * sizes[task, repeat, fold]) :]] = "over max_ratio"
    return reasons


def _without(screened: Screened, reasons: "pd.Series[Any]") -> Screened:
    dropped: dict[int, Counter[str]] = {}
    for step, reason in zip(screened.copies["step"], reasons, strict=True):
        if isinstance(reason, str):
            dropped.setdefault(int(step), Counter())[str(reason)] += 1
    kept = screened.copies[reasons.isna()].reset_index(drop=True)
    barred = screened.barred[screened.barred["copy_id"].isin(kept["copy_id"])].reset_index(drop=True)
    return Screened(kept, barred, dropped)
