"""The folds of a table as jobs: what each one trains on, what it predicts, and how the parts become one prediction table."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline import components
from pipeline.artifacts.copies import UNLABELLED, Copies, check_leaks, no_copies, normalised
from pipeline.artifacts.paths import FOLDS, TABLE
from pipeline.artifacts.predictions import PREDICTION_COLUMNS, Predictions, read_predictions
from pipeline.artifacts.table import HOLDOUT_FOLD, Folds, Reading, Table, in_both_orders
from pipeline.errors.exceptions import DataError
from pipeline.errors.failpoints import failpoint
from pipeline.reproducibility import digest, fold_seed
from pipeline.text.templates import plain

if TYPE_CHECKING:
    from pipeline.params.encoders import Encoder, Training


@dataclass(frozen=True)
class FoldJob:
    """One fold of one task and repeat: the rows it trains on and the rows it predicts; `run_seed` is the whole run's."""

    task: str
    repeat: int
    fold: int
    run_seed: int
    fitted: pd.DataFrame
    predicted: pd.DataFrame
    fitted_ids: "pd.Series[str]"
    copies: pd.DataFrame
    reading: Reading = field(default_factory=Reading)

    @property
    def name(self) -> str:
        """Return a name for folders and messages."""
        return f"{self.task}-r{self.repeat}-f{self.fold}"

    @property
    def to_fit(self) -> pd.DataFrame:
        """Return `fitted`, in both orders where the order of a pair says nothing: a cluster then holds both of a row."""
        return in_both_orders(self.fitted) if self.reading.swap else self.fitted

    @property
    def to_predict(self) -> pd.DataFrame:
        """Return `predicted`, in both orders where the order of a pair says nothing."""
        return in_both_orders(self.predicted) if self.reading.swap else self.predicted

    @property
    def seed(self) -> int:
        """Return the seed of all that is random in the fold."""
        return self.seed_of()

    def seed_of(self, *parts: str) -> int:
        """Return the seed of one of several models of the fold, by what tells it from the others."""
        return fold_seed(self.run_seed, (self.task, self.repeat, self.fold), *parts)


def fold_jobs(table: Table, folds: Folds, copies: Copies | None = None, *, seed: int) -> list[FoldJob]:
    """Return the jobs of all tasks, repeats and folds.

    `fitted` has `text, text_pair, label (its target), cluster` of the rows outside the fold, `fitted_ids` their ids;
    `predicted` the fold's rows as oof, and the test and hold-out rows. Hold-out rows are fitted by nobody. `copies` has
    `copy_id, parent (position in fitted), text, text_pair, label (a target)` of the augmented copies that may be fitted
    too. `seed` is that of the whole run.

    Raises:
        DataError: if the manifest does not know a row, or a copy would leak.
    """
    copies = copies if copies is not None else no_copies()
    jobs = []
    for task in table.labels:
        train_rows, test = table.select(task, "train"), table.select(task, "test")
        train_rows = train_rows.assign(label=table.targets(task, train_rows).tolist())
        for repeat in sorted(folds.rows.loc[folds.rows["task"] == task, "repeat"].unique()):
            plan = folds.select(task, repeat)
            rows = train_rows.merge(plan[["row_id", "fold", "cluster"]], on="row_id", how="left", validate="1:1")
            if rows["fold"].isna().any():
                raise DataError(f"{FOLDS}: knows fewer rows than {TABLE}. Run dvc repro split.")
            holdout = rows[rows["fold"] == HOLDOUT_FOLD]
            for fold in sorted(set(plan.loc[plan["fold"] >= 0, "fold"])):
                fitted = rows[(rows["fold"] != fold) & (rows["fold"] != HOLDOUT_FOLD)]
                named = {"oof": rows[rows["fold"] == fold], "test": test, "holdout": holdout}
                predicted = pd.concat([part.assign(split=split) for split, part in named.items()], ignore_index=True)
                predicted = predicted.assign(repeat=int(repeat), fold=int(fold))
                columns = [*PREDICTION_COLUMNS, "text", "text_pair"]
                ids, fitted = fitted["row_id"].reset_index(drop=True), fitted.reset_index(drop=True)
                fitted = fitted[["text", "text_pair", "label", "cluster"]]
                reading, none = table.reading.get(task, Reading()), pd.DataFrame()
                job = FoldJob(task, int(repeat), int(fold), seed, fitted, predicted[columns], ids, none, reading)
                of_fold = copies.of_fold(task, int(repeat), int(fold))
                unseen = predicted[predicted["split"] != "test"]
                check_leaks(of_fold, fitted_ids=ids, unseen=unseen, fold=job.name)
                jobs.append(replace(job, copies=_with_parents(of_fold, ids, table, task)))
    return jobs


def _with_parents(copies: pd.DataFrame, fitted_ids: "pd.Series[str]", table: Table, task: str) -> pd.DataFrame:
    """Return copies with their parents' positions among the fitted rows, and labels as targets."""
    positions = pd.Series(np.arange(len(fitted_ids)), fitted_ids)
    parents = positions.reindex(copies["row_id"]).to_numpy(np.int64)
    labels = table.targets(task, copies).tolist()
    return copies[["copy_id", "text", "text_pair"]].assign(parent=parents, label=labels)


def unlabelled_of(copies: Copies, job: FoldJob) -> pd.DataFrame:
    """Return a task's rows without labels that the training for a fold may see: none whose text is that of a scored row."""
    texts = copies.unlabelled[copies.unlabelled["task"] == job.task]
    scored = normalised(job.predicted[job.predicted["split"] != "test"])
    texts = texts[~normalised(texts).isin(set(scored))].reset_index(drop=True)
    if not len(texts):
        raise DataError(
            f"{UNLABELLED}: there is no variant of a text without a label for {job.name}. Add texts or steps to augment."
        )
    return texts


def raw_texts(rows: pd.DataFrame) -> list[str]:
    """Return the texts of rows, of pairs both, for what learns words of them."""
    return [plain(text) for text in [*rows["text"], *rows["text_pair"].dropna()]]


def targets_of(rows: pd.DataFrame) -> np.ndarray:
    """Return the targets (N, …) that stand, as numbers or lists of them, in the column `label` of a job's rows."""
    return np.array(rows["label"].tolist())


def rows_digest(rows: pd.DataFrame) -> str:
    """Return a digest of a frame's columns and values."""
    return digest({name: rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in rows.columns})


def gather_predictions(
    paths: Sequence[Path], jobs: Sequence[FoldJob], *, model: str, task: str, manifest: str
) -> Predictions:
    """Return one task's predictions of all folds as one; `paths` are those of each job's predictions."""
    parts = [read_predictions(path, manifest=None) for path, job in zip(paths, jobs, strict=True) if job.task == task]
    failpoint("gather")
    rows = pd.concat([part.rows for part in parts], ignore_index=True)
    first = parts[0]
    logits = np.concatenate([part.logits for part in parts])
    return Predictions(model, task, first.labels, rows, logits, manifest, first.recipe, first.seed)


def augmented_rows(job: FoldJob, settings: "Encoder", copies: Copies | None) -> dict[str, pd.DataFrame]:
    """Return what a fold trains on beside its rows: its `copies`, and `unlabelled` for objectives that read them."""
    more = {}
    if len(job.copies):
        of_job = job.copies.drop(columns="copy_id")
        more["copies"] = in_both_orders(of_job) if job.reading.swap else of_job
    if components.constant("objectives", settings.objective.name, "READS") == "unlabelled":
        more["unlabelled"] = unlabelled_of(copies or no_copies(), job)
    return more


def trained_rows_digest(job: FoldJob, settings: "Training") -> str:
    """Return the digest of the rows that a fold's model trains on; clusters matter only where some rows are spared."""
    return rows_digest(job.to_fit if settings.epoch_selection == "inner" else job.to_fit.drop(columns="cluster"))
