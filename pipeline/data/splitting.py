"""Training rows -> the fold manifest: stratified by label, clusters of rows that belong together always whole.

Clusters are placed by scikit-learn's StratifiedGroupKFold; rows of their own, which would take it minutes, then
fill the folds. Where a row may be in several classes, iterative stratification places all
(`targets.strata`). Rows are put in the order of their ids first, so the plan does not depend on the order of the file.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline import components
from pipeline.artifacts.table import FOLDS_COLUMNS, HOLDOUT_FOLD, TRAIN_FOLD, Table
from pipeline.data.score_where import wanted_rows
from pipeline.errors.exceptions import ParamsError
from pipeline.params import tasks
from pipeline.reproducibility import derive_seed
from pipeline.targets.strata import memberships, split_iteratively
from pipeline.text.near_duplicates import cluster_texts, row_texts
from pipeline.text.relations import across_tasks, explain_largest, related_rows

logger = logging.getLogger(__name__)
N_EXAMPLES = 5


def cluster_rows(table: Table, *, similarity: float | None) -> pd.DataFrame:
    """Return `task, split, row_id, cluster` of all rows; clusters span a task's training and test rows."""
    clusters = table.rows[["task", "split", "row_id"]].assign(cluster=np.int64(0))
    for task in table.labels:
        of_task = table.rows["task"] == task
        clusters.loc[of_task, "cluster"] = cluster_texts(row_texts(table.rows[of_task]), similarity=similarity)
    return clusters


def assign_folds(
    table: Table, clusters: pd.DataFrame, likeness: pd.DataFrame | None = None, *, folds: tasks.Folds, seed: int
) -> pd.DataFrame:
    """Return the fold manifest of all tasks: `row_id, task, repeat, fold, cluster`, fold -1 for the hold-out.

    A class that stands in one cluster only cannot both teach a model and score it: its cluster gets fold -2, which every
    model trains on; so do clusters without a row that `folds.score_where` takes.

    Only training rows are split; `clusters` has `task, split, row_id, cluster` of all rows, `likeness` is needed
    where `folds.score_where` is set (see `wanted_rows`). `seed` is the whole run's, from which each task and repeat derives
    its own.

    Raises:
        ParamsError: if a class of several clusters, or the task, has fewer to be scored outside the hold-out than folds.
    """
    parts = {task: _part(table, clusters, likeness, task=task, folds=folds) for task in table.labels}
    plans = []
    for group, numbers in across_tasks({task: part.rows for task, part in parts.items()}, {
        task: part.cluster for task, part in parts.items()
    }, similarity=folds.near_duplicate_similarity):  # fmt: skip
        plans += _plan([replace(parts[task], cluster=numbers[task]) for task in group], folds=folds, seed=seed)
    for task, part in parts.items():
        sizes = np.bincount(part.cluster)
        logger.info("%s: %d rows in %d clusters, the largest of %d", task, len(part.rows), len(sizes), sizes.max())
        if part.tied:
            logger.warning("%s: folds cannot be even. %s", task, part.tied)
    return pd.concat(plans, ignore_index=True)[FOLDS_COLUMNS]


@dataclass(frozen=True)
class _Part:
    """The training rows of a task, by id, and for each its cluster, strata, classes, and whether it is never scored."""

    task: str
    rows: pd.DataFrame
    cluster: np.ndarray
    strata: np.ndarray
    classes: np.ndarray
    labels: list[str]
    unscored: np.ndarray
    tied: str


def _part(
    table: Table, clusters: pd.DataFrame, likeness: pd.DataFrame | None, *, task: str, folds: tasks.Folds
) -> _Part:
    rows = table.select(task, "train").sort_values("row_id", ignore_index=True)
    keys = ["task", "split", "row_id"]
    near = rows[keys].merge(clusters, on=keys, how="left", validate="one_to_one")["cluster"].to_numpy()
    cluster = related_rows(rows, near, group_pairs=folds.group_pairs)
    of_rows, labels = table.kind(task).strata(table.targets(task, rows), table.labels[task])
    strata = of_rows if folds.stratify else np.zeros(len(rows), np.int64)
    # A model may do without any bin: then all rows are as of two classes that each has.
    are_bins = components.constant("task_kinds", table.kinds[task][0], "BINS")
    classes = np.ones((len(rows), 2), bool) if are_bins else memberships(of_rows, len(labels))
    unscored = _lone(classes, cluster, labels, task=task)
    if likeness is not None:
        unscored |= ~np.isin(cluster, cluster[wanted_rows(rows, likeness, score_where=folds.score_where)])
    tied = explain_largest(rows, near, cluster, task=task, n_splits=folds.n_splits, group_pairs=folds.group_pairs)
    return _Part(task, rows, cluster, strata, classes, labels, unscored, tied)


def _plan(parts: list[_Part], *, folds: tasks.Folds, seed: int) -> list[pd.DataFrame]:
    """Return the plans of tasks that are split together, because texts stand in several of them; most often it is one."""
    name, ends = "+".join(part.task for part in parts), np.cumsum([len(part.rows) for part in parts])
    cluster, unscored = (np.concatenate([getattr(part, key) for part in parts]) for key in ("cluster", "unscored"))
    unscored = np.isin(cluster, cluster[unscored])
    strata = _side_by_side([part.strata for part in parts])
    held = unscored.copy()
    holdout_seed = derive_seed(seed, "holdout", name)
    held[~unscored] = _draw_holdout(strata[~unscored], cluster[~unscored], ratio=folds.holdout_ratio, seed=holdout_seed)
    for part, out in zip(parts, np.split(held, ends[:-1]), strict=True):
        least = folds.n_splits if folds.stratify and part.strata.ndim == 1 else 2
        inside = part.classes[~out], part.cluster[~out], part.labels
        _check_clusters(*inside, task=part.task, folds=folds, least=least, tied=part.tied)
    plans = []
    for repeat in range(folds.n_repeats):
        fold = np.where(unscored, TRAIN_FOLD, HOLDOUT_FOLD)
        repeat_seed = derive_seed(seed, "split", name, repeat)
        fold[~held] = _split(strata[~held], cluster[~held], n_splits=folds.n_splits, seed=repeat_seed)
        for part, own, out in zip(parts, np.split(fold, ends[:-1]), np.split(held, ends[:-1]), strict=True):
            if folds.stratify:
                _check_training_parts(part.classes[~out], own[~out], part.labels, task=part.task)
            plan = part.rows[["row_id", "task"]].assign(repeat=repeat, fold=own, cluster=part.cluster)
            plans.append(plan)
    return plans


def _side_by_side(strata: list[np.ndarray]) -> np.ndarray:
    """Return the strata of several tasks' rows, one after another, each task's apart from the others'.

    >>> _side_by_side([np.array([0, 1]), np.array([0, 0])]).tolist()
    [0, 1, 2, 2]
    >>> _side_by_side([np.array([1]), np.array([[True]])]).astype(int).tolist()
    [[0, 1, 0], [0, 0, 1]]
    """
    sizes = [int(part.max()) + 1 if part.ndim == 1 else part.shape[1] for part in strata]
    firsts = np.cumsum([0, *sizes[:-1]])
    if all(part.ndim == 1 for part in strata):
        return np.concatenate([part + first for part, first in zip(strata, firsts, strict=True)])
    rows = [memberships(part, size) for part, size in zip(strata, sizes, strict=True)]
    return np.concatenate(
        [
            np.pad(part, ((0, 0), (first, sum(sizes) - first - size)))
            for part, first, size in zip(rows, firsts, sizes, strict=True)
        ]
    )


def _pairs(classes: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Return the pairs (class, cluster) that occur, int64 (2, P), for the classes of each row, bool (N, C)."""
    rows, numbers = np.nonzero(classes)
    return np.unique(np.stack([numbers, cluster[rows]]), axis=1)


def _lone(classes: np.ndarray, cluster: np.ndarray, labels: list[str], *, task: str) -> np.ndarray:
    """Return which rows lie in a cluster that is the only one of some class; none if they leave less than two classes."""
    pairs = _pairs(classes, cluster)
    rare = np.flatnonzero(np.bincount(pairs[0], minlength=len(labels)) == 1)
    lone = np.isin(cluster, pairs[1, np.isin(pairs[0], rare)])
    if classes[~lone].any(axis=0).sum() < 2:  # nothing to score: the checks of the folds say why
        return np.zeros(len(classes), bool)
    if lone.any():
        names = [labels[label] for label in rare[:N_EXAMPLES]]
        logger.warning(
            "%s: %d rows are trained on in every fold and never scored: all that is known of %d classes, such as %s",
            task, lone.sum(), len(rare), names,
        )  # fmt: skip
    return lone


def _draw_holdout(strata: np.ndarray, cluster: np.ndarray, *, ratio: float, seed: int) -> np.ndarray:
    """Return which rows are held out: whole clusters, each class near its share.

    Clusters of several rows come in random order, large ones first, and one is taken when it brings the classes nearer
    to their share of such rows; then rows of their own fill each class up.
    """
    if ratio == 0 or not len(cluster):
        return np.zeros(len(cluster), bool)
    if strata.ndim == 2:
        return split_iteratively(strata, cluster, shares=[ratio, 1 - ratio], seed=seed) == 0
    counts = np.zeros((int(cluster.max()) + 1, int(strata.max()) + 1), np.int64)  # rows by cluster and class
    np.add.at(counts, (cluster, strata), 1)
    taken = np.zeros(len(counts), bool)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    sizes = counts.sum(axis=1)
    several = shuffled[sizes[shuffled] > 1]
    target = ratio * counts[several].sum(axis=0)
    total = np.zeros(counts.shape[1])
    for number in several[np.argsort(-sizes[several], kind="stable")]:
        if ((total + counts[number] - target) ** 2).sum() < ((total - target) ** 2).sum():
            taken[number] = True
            total += counts[number]
    singles = shuffled[sizes[shuffled] == 1]
    for label, wanted in enumerate(ratio * counts.sum(axis=0) - total):
        taken[singles[counts[singles, label] == 1][: max(0, round(wanted))]] = True
    return taken[cluster]


def _split(strata: np.ndarray, cluster: np.ndarray, *, n_splits: int, seed: int) -> np.ndarray:
    """Return the fold of each row.

    Clusters of several rows go first, with a few rows of their own (the library wants n_splits rows per class); the
    others then even out what the clusters left uneven.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if strata.ndim == 2:
        return split_iteratively(strata, cluster, shares=[1 / n_splits] * n_splits, seed=seed)
    fold = np.full(len(strata), HOLDOUT_FOLD, np.int64)
    first = np.bincount(cluster)[cluster] > 1
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(~first))
    by_class = {label: shuffled[strata[shuffled] == label] for label in np.unique(strata)}
    for singles in by_class.values():
        first[singles[:n_splits]] = True
    placed = np.flatnonzero(first)
    grouped = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    for number, (_, scored) in enumerate(grouped.split(placed, strata[placed], cluster[placed])):
        fold[placed[scored]] = number
    for label, singles in by_class.items():
        filled = np.bincount(fold[placed][strata[placed] == label], minlength=n_splits)
        rest = singles[n_splits:]
        fold[rest] = _even_out(filled, np.bincount(fold[fold >= 0], minlength=n_splits), n_rows=len(rest))
    return fold


def _even_out(filled: np.ndarray, sizes: np.ndarray, *, n_rows: int) -> np.ndarray:
    """Return a fold for each of `n_rows`, always the one with the fewest rows of the class.

    Equally filled folds take turns, the smallest fold first.

    >>> _even_out(np.array([3, 0, 1]), np.array([3, 9, 9]), n_rows=4).tolist()
    [1, 2, 1, 2]
    """
    smallest_first = np.argsort(sizes, kind="stable")
    levels = np.add.outer(np.arange(n_rows), filled[smallest_first])
    return smallest_first[np.argsort(levels, axis=None, kind="stable")[:n_rows] % len(sizes)]


def _check_clusters(
    classes: np.ndarray, cluster: np.ndarray, labels: list[str], *, task: str, folds: tasks.Folds, least: int, tied: str
) -> None:
    outside = " outside the hold-out" if folds.holdout_ratio else ""
    mend = ""
    if folds.score_where is not None:
        outside, mend = f" that folds.score_where takes{outside}", " Or set folds.score_where: null."
    n_clusters = len(np.unique(cluster))
    if n_clusters < folds.n_splits:
        raise ParamsError(
            f"folds.n_splits: must be at most the number of clusters of task {task}{outside} ({n_clusters}), got "
            f"{folds.n_splits}. {tied or 'Lower it, or check columns.group and folds.near_duplicate_similarity.'}{mend}",
            code="E203",
        )
    pairs = _pairs(classes, cluster)
    per_class = np.bincount(pairs[0], minlength=len(labels))
    present = np.flatnonzero(per_class)
    if folds.score_where is not None and len(present) < 2:
        raise ParamsError(
            f"folds.score_where: must take rows of two classes of task {task} or more, got only {labels[present[0]]!r}. "
            "Set it to null.",
            code="E203",
        )
    rarest = present[np.argmin(per_class[present])]
    if per_class[rarest] < least:
        raise ParamsError(
            f"folds.n_splits: must be at most the rarest class's number of clusters{outside} ({per_class[rarest]}, "
            f"class {labels[rarest]!r} of task {task}), got {folds.n_splits}. "
            f"Lower it or merge classes (tasks.{task}.rename_labels).{mend}{' Or: ' * bool(tied)}{tied}",
            code="E203",
        )


def _check_training_parts(classes: np.ndarray, fold: np.ndarray, labels: list[str], *, task: str) -> None:
    """Refuse a plan in which some fold holds all rows of a class: its model would never see that class."""
    for label in np.flatnonzero(classes.any(axis=0)):
        folds = np.unique(fold[classes[:, label]])
        if len(folds) < 2:
            raise ParamsError(
                f"folds: every class must be in every training part, but all rows of class {labels[label]!r} of "
                f"task {task} fall into fold {folds[0]}. Change the seed, or merge classes.",
                code="E203",
            )
