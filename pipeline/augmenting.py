"""Augmentation: copies of training rows, made fold by fold, each fold's from its own rows alone (leak rule 1).

So whatever an augmenter learns, a copy holds nothing of another fold, and it serves exactly where its parent is a training
row; `screening` finds where it may not serve all the same.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline import artifacts, components
from pipeline.artifacts import Folds, Table
from pipeline.contracts import Corpus
from pipeline.copies import COPIES_COLUMNS, FOLDER, SUMMARY, UNLABELLED_COLUMNS, Copies, write_copies
from pipeline.copying import UNIT_COPIES, make_copies, read_record
from pipeline.exceptions import ParamsError
from pipeline.executing import run_units
from pipeline.failpoints import failpoint
from pipeline.folding import rows_digest
from pipeline.near_duplicates import near_pairs, row_texts
from pipeline.params_yaml import expected
from pipeline.reproducibility import derive_seed, digest, numerics
from pipeline.screening import flips, screen
from pipeline.units import Unit

if TYPE_CHECKING:
    from pipeline.params import Augment, Params
    from pipeline.params_augment import Step

SHARD_ROWS = 2000
MODEL_SHARD_ROWS = 200  # what a killed worker of a slow augmenter loses at most
CORPUS_ROWS = 20_000  # what augmenters may learn from: memory does not grow with the data
N_EXAMPLES = 4
WHICH_ROWS = {"row_ratio", "n_copies", "tasks", "classes", "balance_to"}  # these change no copy of a row that has one

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """Rows that get copies by one step, as a unit with its arguments; `fold` is None for rows without labels."""

    task: str
    repeat: int
    fold: int | None
    step: int
    unit: Unit
    arguments: dict[str, Any]


def augment(params: "Params", table: Table, folds: Folds, *, recipe: dict[str, Any], folder: Path = FOLDER) -> None:
    """Make the copies of all steps, find where they may not serve, and write them with a summary.

    Args:
        params: the steps, what is reserved, the quality gate, and where it runs.
        table: the rows.
        folds: the fold manifest.
        recipe: of the stage, whose `steps` and `flips` stand for code and files.
        folder: where the tables and `augment.json` go.

    Raises:
        ParamsError: if a step names a task or label that does not exist, or a lexicon or model is unusable.
    """
    settings = params.augment
    check_steps(settings, table)
    shards = list(_shards(params, table, folds, recipe))
    if shards:
        run_units([(one.unit, make_copies, one.arguments) for one in shards], run=params.run, stage="augment")
    failpoint("screen")
    similarity = params.folds.near_duplicate_similarity
    screened = screen(_read_copies(shards), table, folds, settings=settings, similarity=similarity)
    if settings.quality.flip_confidence is not None and len(screened.copies):
        screened = flips(screened, params, table, folds, recipe=recipe["flips"])
    steps = _summary(settings, shards, screened.copies, screened.dropped)
    barred = screened.barred.groupby("reason").size().to_dict()
    variants = [_read_unlabelled(one) for one in shards if one.fold is None]
    unlabelled = pd.concat(variants, ignore_index=True) if variants else pd.DataFrame(columns=UNLABELLED_COLUMNS)
    found = Copies(screened.copies[COPIES_COLUMNS], screened.barred, unlabelled)
    write_copies(found, manifest=folds.digest, folder=folder)
    artifacts.write_json(
        folder / SUMMARY.name, {"steps": steps, "barred": barred, "n_unlabelled": len(unlabelled)}
    )  # fmt: skip


def check_steps(settings: "Augment", table: Table) -> None:
    """Refuse steps that name a task or a label that does not exist; all problems at once."""
    problems = []
    for number, step in enumerate(settings.steps):
        place = f"augment.steps.{number}"
        problems += [
            f"{place}.tasks: {expected(name, table.labels)}" for name in step.tasks or () if name not in table.labels
        ]
        labels = sorted({label for task in step.tasks or table.labels for label in table.labels.get(task, ())})
        named = {"classes": step.classes or []}
        if isinstance(step.balance_to, str) and step.balance_to != "largest":
            named["balance_to"] = [step.balance_to]
        problems += [
            f"{place}.{key}: no row has this label: {expected(label, labels)}"
            for key, values in named.items()
            for label in values
            if label not in labels
        ]
    if problems:
        raise ParamsError("\n".join(problems))


def _shards(params: "Params", table: Table, folds: Folds, recipe: dict[str, Any]) -> Iterator[Shard]:
    """Yield the units of all steps: of every task, repeat and fold, and of the rows without labels."""
    for task, labels in table.labels.items():
        steps = [
            (number, one) for number, one in enumerate(params.augment.steps) if task in (one.tasks or table.labels)
        ]
        train = table.select(task, "train")
        plan = folds.rows[folds.rows["task"] == task]
        for repeat, fold in sorted(set(zip(plan["repeat"].astype(int), plan["fold"].astype(int), strict=True))):
            if fold == artifacts.HOLDOUT_FOLD:
                continue
            members = plan.loc[(plan["repeat"] == repeat) & (plan["fold"] == fold), "row_id"]
            rows = train[train["row_id"].isin(members)].reset_index(drop=True)
            corpus = Corpus(*_texts(rows, labels, params.seed))
            for number, step in steps:
                chosen = _chosen(rows, step, params, task=task, repeat=repeat)
                yield from _units(chosen, corpus, params, recipe, number, task=task, repeat=repeat, fold=fold)
        rows = unlabelled_rows(table, task, params)
        if len(rows):
            corpus = Corpus(_texts(rows, labels, params.seed)[0])
            for number, step in steps:
                if not step.needs_labels:
                    chosen = _seeded(rows, step, params, task=task, repeat=0).assign(n_copies=1)
                    yield from _units(chosen, corpus, params, recipe, number, task=task, repeat=0, fold=None)


def unlabelled_rows(table: Table, task: str, params: "Params") -> pd.DataFrame:
    """Return the rows of a task without labels that training may see, under ids of their own.

    They are the test rows only where that is allowed, and none that is nearly a row of the training file: it may be scored.
    """
    splits = ["unlabelled", *(["test"] if params.augment.transductive else [])]
    rows = pd.concat([table.select(task, split) for split in splits], ignore_index=True)
    if len(rows):
        similarity = params.folds.near_duplicate_similarity
        near = near_pairs(row_texts(rows), row_texts(table.select(task, "train")), similarity=similarity)[0]
        rows = rows.assign(row_id=rows["split"] + ":" + rows["row_id"]).drop(index=np.unique(near).tolist())
    return rows.reset_index(drop=True)


def _texts(rows: pd.DataFrame, labels: list[str], seed: int) -> tuple[list[str], list[int]]:
    """Return the texts, of pairs both, of a bounded number of rows drawn by the seed, and their labels."""
    if len(rows) > CORPUS_ROWS:
        drawn = np.random.default_rng(derive_seed(seed, "corpus")).choice(len(rows), CORPUS_ROWS, replace=False)
        rows = rows.iloc[np.sort(drawn)]
    numbers = {label: number for number, label in enumerate(labels)}
    own = [numbers.get(label, -1) for label in rows["label"]]
    paired = rows["text_pair"].fillna("").str.strip() != ""
    seconds = [label for label, has in zip(own, paired, strict=True) if has]
    return [*rows["text"], *rows["text_pair"][paired]], [*own, *seconds]


def _seeded(rows: pd.DataFrame, step: "Step", params: "Params", *, task: str, repeat: int) -> pd.DataFrame:
    key = digest(step.model_dump(exclude=WHICH_ROWS))
    seeds = [derive_seed(params.seed, "augment", key, task, repeat, row_id) for row_id in rows["row_id"]]
    return rows.assign(seed=seeds)


def _chosen(rows: pd.DataFrame, step: "Step", params: "Params", *, task: str, repeat: int) -> pd.DataFrame:
    """Return the rows of a fold that get copies, with the number of copies of each."""
    counts = rows["label"].value_counts()
    rows = _seeded(rows, step, params, task=task, repeat=repeat)
    rows = rows[rows["label"].isin(step.classes or counts.index)]
    lots = pd.Series([derive_seed(seed, "lot") for seed in rows["seed"]], rows.index, dtype="int64")
    chosen = rows[lots < step.row_ratio * 2**31]
    if step.balance_to is None:
        return chosen.assign(n_copies=step.n_copies or 1)
    if isinstance(step.balance_to, int):
        target = -(-step.balance_to // params.folds.n_splits)
    else:
        target = counts.max() if step.balance_to == "largest" else counts.get(step.balance_to, 0)
    missing = {label: max(0, target - count) for label, count in counts.items()}
    n_copies = pd.Series(0, chosen.index, dtype="int64")
    for label, own in lots[chosen.index].groupby(chosen["label"]):
        each, over = divmod(missing[label], len(own))
        n_copies[own.index] = each
        n_copies[own.sort_values().index[:over]] += 1
    n_copies = n_copies.clip(upper=step.n_copies)
    return chosen.assign(n_copies=n_copies)[n_copies > 0]


def _units(
    rows: pd.DataFrame, corpus: Corpus, params: "Params", recipe: dict[str, Any], number: int, *,
    task: str, repeat: int, fold: int | None,
) -> Iterator[Shard]:  # fmt: skip
    step, settings = params.augment.steps[number], params.augment
    uses_model = step.guide is not None and step.guide.by == "gradient"
    uses_model |= any(components.constant(one.kind, one.name, "MODELS") for flow in step.flows for one in flow)
    n_rows = MODEL_SHARD_ROWS if uses_model else SHARD_ROWS
    corpus_key = digest([list(corpus.texts), list(corpus.labels or ())])
    columns = ["row_id", "text", "text_pair", "label", "seed", "n_copies"]
    similarity = {"similarity", "min_similarity", "max_similarity"}
    for start in range(0, len(rows), n_rows):
        shard = rows.iloc[start : start + n_rows][columns].reset_index(drop=True)
        depends_on = {
            "step": "augment",
            "recipe": recipe["steps"][number],
            "settings": step.model_dump(exclude=WHICH_ROWS),
            "reserved": settings.reserved,
            "quality": settings.quality.model_dump(include=similarity),
            "corpus": corpus_key,
            "rows": rows_digest(shard),
            "numerics": numerics(params.run.device, params.run.threads_per_worker),
        }
        name = f"{step.name}/{task}-{f'r{repeat}-f{fold}' if fold is not None else 'unlabelled'}-{start // n_rows}"
        arguments = {"rows": shard, "corpus": corpus, "corpus_key": corpus_key, "step": step}
        arguments |= {"reserved": settings.reserved, "quality": settings.quality}
        yield Shard(task, repeat, fold, number, Unit(name, depends_on), arguments)


def _read(shard: Shard) -> pd.DataFrame:
    """Return a shard's copies in the artifact's columns, with the number of the step."""
    rows = artifacts.read_frame(shard.unit.result / UNIT_COPIES)[0]
    rows = rows.assign(task=shard.task, repeat=shard.repeat, fold=shard.fold, step=shard.step)
    ids = rows["row_id"] + f"~{shard.repeat}.{shard.step}." + rows["number"].astype("str")
    return rows.assign(copy_id=ids)[[*COPIES_COLUMNS, "step"]]


def _read_copies(shards: list[Shard]) -> pd.DataFrame:
    """Return the copies of all shards."""
    made = [_read(one) for one in shards if one.fold is not None]
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=[*COPIES_COLUMNS, "step"])


def _read_unlabelled(shard: Shard) -> pd.DataFrame:
    variants = artifacts.read_frame(shard.unit.result / UNIT_COPIES)[0]
    variants = variants.rename(columns={"text": "variant", "text_pair": "variant_pair"})
    rows = shard.arguments["rows"][["row_id", "text", "text_pair"]]
    merged = rows.merge(variants, on="row_id", validate="1:1").assign(task=shard.task)
    return merged[UNLABELLED_COLUMNS]


def _summary(
    settings: "Augment", shards: list[Shard], copies: pd.DataFrame, dropped: dict[int, Counter[str]]
) -> list[dict[str, Any]]:
    """Return what became of each step: rows, copies, what was dropped and why, failures and examples."""
    found = []
    for number, step in enumerate(settings.steps):
        records = [read_record(one.unit.result) for one in shards if one.step == number and one.fold is not None]
        reasons = sum((record.dropped for record in records), Counter(dropped.get(number, {})))
        examples = [example for record in records for example in record.examples]
        kept = [one for one in examples if one["dropped"] is None][:N_EXAMPLES]
        first_dropped = {one["dropped"]: one for one in reversed(examples) if one["dropped"] is not None}
        own = copies[copies["step"] == number]
        found.append(
            {
                "name": step.name,
                "n_rows": sum(record.n_rows for record in records),
                "n_made": sum(record.n_made for record in records),
                "n_kept": len(own),
                "dropped": dict(reasons),
                "failed": [one for record in records for one in record.failed],
                "mean_edit_distance": float(own["edit_distance"].mean()) if len(own) else None,
                "examples": [*kept, *first_dropped.values()],
            }
        )
    return found
