"""Which rows get copies by which step, in shards: units of the store that a killed worker loses one of."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline import components
from pipeline.artifacts.table import HOLDOUT_FOLD, Folds, Table
from pipeline.contracts import Corpus
from pipeline.data.fold_jobs import rows_digest
from pipeline.reproducibility import derive_seed, digest, numerics
from pipeline.targets.strata import memberships, one_each, rarest
from pipeline.text.near_duplicates import near_pairs, row_texts
from pipeline.text.templates import plain
from pipeline.units.unit import Unit

if TYPE_CHECKING:
    from pipeline.params.augment import Step
    from pipeline.params.root import Params

SHARD_ROWS = 2000
MODEL_SHARD_ROWS = 200  # what a killed worker of a slow augmenter loses at most
CORPUS_ROWS = 20_000  # what augmenters may learn from: memory does not grow with the data
WHICH_ROWS = {"row_ratio", "n_copies", "tasks", "classes", "balance_to"}  # these change no copy of a row that has one
COLUMNS = ["row_id", "text", "text_pair", "label"]
SIMILARITY = {"similarity", "min_similarity", "max_similarity"}


@dataclass(frozen=True)
class Source:
    """Rows from which copies are made, `fold` None for those without labels: what shards name by its places holds no memory.

    `learned` are the places of a bounded number of rows drawn by the seed, from which alone augmenters learn.
    """

    task: str
    repeat: int
    fold: int | None
    table: Table
    rows: pd.DataFrame
    learned: "pd.Index[int]"

    def corpus(self) -> Corpus:
        """Return the texts, of pairs both, and labels that augmenters may learn from."""
        rows = self.rows.loc[self.learned]
        paired = rows["text_pair"].fillna("").str.strip() != ""
        texts = [plain(text) for text in [*rows["text"], *rows["text_pair"][paired]]]
        if self.fold is None:
            return Corpus(texts)
        strata = one_each(self.strata(rows)[0]).tolist()
        return Corpus(texts, [*strata, *(stratum for stratum, has in zip(strata, paired, strict=True) if has)])

    def strata(self, rows: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        """Return the strata of labelled rows and their names: see `TaskKind.strata`."""
        return self.table.kind(self.task).strata(self.table.targets(self.task, rows), self.table.labels[self.task])

    @cached_property
    def corpus_key(self) -> str:
        """Return the digest of the corpus."""
        corpus = self.corpus()
        return digest([list(corpus.texts), list(corpus.labels or ())])


@dataclass(frozen=True)
class Shard:
    """Rows of a source that get copies by one step, and the unit that makes them.

    `chosen`: `seed, n_copies` of the rows by their places in the source's table.
    """

    source: Source
    step: int
    unit: Unit
    chosen: pd.DataFrame
    settings: dict[str, Any]

    def rows(self) -> pd.DataFrame:
        """Return `row_id, text, text_pair, label, seed, n_copies`."""
        return _rows(self.source.rows, self.chosen)

    def arguments(self) -> dict[str, Any]:
        """Return what `shard_copies.make_copies` takes."""
        source = self.source
        return {"rows": self.rows(), "corpus": source.corpus(), "corpus_key": source.corpus_key, **self.settings}


def plan_shards(params: "Params", table: Table, folds: Folds, *, recipe: dict[str, Any]) -> Iterator[Shard]:
    """Yield the shards of all steps, task by task: of every repeat and fold, then of the rows without labels."""
    for task in table.labels:
        numbered = enumerate(params.augment.steps)
        steps = [(number, step) for number, step in numbered if task in (step.tasks or table.labels)]
        train = table.rows[(table.rows["task"] == task) & (table.rows["split"] == "train")]
        plan = folds.rows[folds.rows["task"] == task]
        for repeat, fold in sorted(set(zip(plan["repeat"].astype(int), plan["fold"].astype(int), strict=True))):
            if fold == HOLDOUT_FOLD:
                continue
            members = plan.loc[(plan["repeat"] == repeat) & (plan["fold"] == fold), "row_id"]
            rows = train[train["row_id"].isin(members)]
            source = _source(task, repeat, fold, table, table.rows, rows, params.seed)
            for number, step in steps:
                yield from _shards(source, _chosen(rows, step, params, source), params, recipe, number)
        rows = unlabelled_rows(table, task, params)
        if len(rows):
            source = _source(task, 0, None, table, rows, rows, params.seed)
            for number, step in steps:
                if not step.needs_labels:
                    chosen = pd.DataFrame({"seed": _seeds(rows, step, params, source), "n_copies": 1})
                    yield from _shards(source, chosen, params, recipe, number)


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


def _source(
    task: str, repeat: int, fold: int | None, table: Table, places: pd.DataFrame, rows: pd.DataFrame, seed: int
) -> Source:
    """Return the source of some rows, which are named by their places in a frame."""
    learned = rows.index
    if len(rows) > CORPUS_ROWS:
        drawn = np.random.default_rng(derive_seed(seed, "corpus")).choice(len(rows), CORPUS_ROWS, replace=False)
        learned = rows.index[np.sort(drawn)]
    return Source(task, repeat, fold, table, places, learned)


def _rows(table: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    return table.loc[chosen.index, COLUMNS].join(chosen).reset_index(drop=True)


def _seeds(rows: pd.DataFrame, step: "Step", params: "Params", source: Source) -> "pd.Series[int]":
    """Return the seed of each row: with the step's settings, all that its copies depend on but the corpus."""
    key = digest(step.model_dump(exclude=WHICH_ROWS))
    drawn = [derive_seed(params.seed, "augment", key, source.task, source.repeat, row_id) for row_id in rows["row_id"]]
    return pd.Series(drawn, rows.index, dtype="int64")


def _chosen(rows: pd.DataFrame, step: "Step", params: "Params", source: Source) -> pd.DataFrame:
    """Return the rows of a fold that get copies, with their seeds and the number of copies of each."""
    strata, names = source.strata(rows)
    within = memberships(strata, len(names))
    counts, label = dict(zip(names, within.sum(axis=0).tolist(), strict=True)), pd.Series(rarest(within), rows.index)
    if step.classes:
        rows = rows.iloc[np.flatnonzero(within[:, np.isin(names, step.classes)].any(axis=1))]
    seeds = _seeds(rows, step, params, source)
    lots = pd.Series([derive_seed(seed, "lot") for seed in seeds], rows.index, dtype="int64")
    lots = lots[lots < step.row_ratio * 2**31]
    chosen = pd.DataFrame({"seed": seeds[lots.index], "n_copies": step.n_copies or 1})
    if step.balance_to is None:
        return chosen
    if isinstance(step.balance_to, int):
        target = -(-step.balance_to // params.folds.n_splits)
    else:
        target = max(counts.values()) if step.balance_to == "largest" else counts.get(step.balance_to, 0)
    missing = [max(0, target - count) for count in counts.values()]
    n_copies = pd.Series(0, lots.index, dtype="int64")
    for number, of_label in lots[label[lots.index] >= 0].groupby(label):  # of several labels a row's rarest counts
        each, over = divmod(missing[number], len(of_label))
        n_copies[of_label.index] = each
        n_copies[of_label.sort_values().index[:over]] += 1
    n_copies = n_copies.clip(upper=step.n_copies)
    return chosen.assign(n_copies=n_copies)[n_copies > 0]


def _shards(
    source: Source, chosen: pd.DataFrame, params: "Params", recipe: dict[str, Any], number: int
) -> Iterator[Shard]:
    """Yield the shards of one step for some rows of a source."""
    step, augment = params.augment.steps[number], params.augment
    uses_model = step.guide is not None and step.guide.by == "gradient"
    uses_model |= any(components.constant(part.kind, part.name, "MODELS") for flow in step.flows for part in flow)
    n_rows = MODEL_SHARD_ROWS if uses_model else SHARD_ROWS
    settings = {"step": step, "reserved": augment.reserved, "quality": augment.quality}
    of_fold = "unlabelled" if source.fold is None else f"r{source.repeat}-f{source.fold}"
    for start in range(0, len(chosen), n_rows):
        rows = chosen.iloc[start : start + n_rows]
        depends_on = {
            "step": "augment", "recipe": recipe["steps"][number], "settings": step.model_dump(exclude=WHICH_ROWS),
            "reserved": augment.reserved, "quality": augment.quality.model_dump(include=SIMILARITY),
            "corpus": source.corpus_key, "rows": rows_digest(_rows(source.rows, rows)),
            "numerics": numerics(params.run.device, params.run.threads_per_worker),
        }  # fmt: skip
        unit = Unit(f"{step.title}/{source.task}-{of_fold}-{start // n_rows}", depends_on)
        yield Shard(source, number, unit, rows, settings)
