"""Training rows -> the fold manifest: stratified by label, clusters of rows that belong together always whole.

Clusters are placed by scikit-learn's StratifiedGroupKFold; rows of their own, which would take it minutes, then
fill the folds. Where a row may be in several classes, iterative stratification places all
(`targets.strata`). Rows are put in the order of their ids first, so the plan does not depend on the order of the file.
"""

import logging
from bisect import bisect_left
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline import components
from pipeline.artifacts.table import FOLDS_COLUMNS, HOLDOUT_FOLD, TRAIN_FOLD, Table
from pipeline.data.score_where import wanted_rows
from pipeline.errors.exceptions import ParamsError, shown
from pipeline.params import tasks
from pipeline.reproducibility import derive_seed
from pipeline.targets.strata import memberships, split_iteratively
from pipeline.text.near_duplicates import cluster_texts, connect, row_texts
from pipeline.text.templates import readable

logger = logging.getLogger(__name__)
N_EXAMPLES = 5
N_TIES = 3
TOO_LARGE = 1.5  # of a fold's share of the rows: a larger cluster makes folds that are far from even


def cluster_rows(table: Table, *, similarity: float | None) -> pd.DataFrame:
    """Return `task, split, row_id, cluster` of all rows; clusters span a task's training and test rows."""
    clusters = table.rows[["task", "split", "row_id"]].assign(cluster=np.int64(0))
    for task in table.labels:
        of_task = table.rows["task"] == task
        clusters.loc[of_task, "cluster"] = cluster_texts(row_texts(table.rows[of_task]), similarity=similarity)
    return clusters


def related_rows(rows: pd.DataFrame, near: np.ndarray, *, group_pairs: bool | int) -> np.ndarray:
    """Return the cluster of each row, int64 (rows,): near-duplicates, equal groups and, if asked, shared sentences.

    With a number as `group_pairs` sentences that stand more often than that link nothing.
    """
    groups = pd.factorize(rows["group"])[0]  # missing groups are -1 and link nothing
    if group_pairs is False:
        return connect(near, groups)
    codes = _sentences(rows)[1]
    if group_pairs is not True:
        codes[np.bincount(codes + 1)[codes + 1] > group_pairs] = -1
    # Every row stands twice, once per sentence, so that a sentence links rows on whichever side it occurs.
    return connect(np.tile(np.arange(len(rows)), 2), np.tile(near, 2), np.tile(groups, 2), codes)[: len(rows)]


def _sentences(rows: pd.DataFrame) -> tuple[pd.Series, np.ndarray]:
    """Return first and then second sentences of pairs, (2 N,), and a number for each that equal ones share, -1 for blanks."""
    both = pd.concat([rows["text"], rows["text_pair"]], ignore_index=True).fillna("")
    codes = cluster_texts(pa.array(both, pa.large_string()), similarity=None)
    codes[both.str.strip().to_numpy() == ""] = -1
    return both, codes


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
    plans = []
    for task in table.labels:
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
        held = unscored.copy()
        holdout_seed = derive_seed(seed, "holdout", task)
        held[~unscored] = _draw_holdout(
            strata[~unscored], cluster[~unscored], ratio=folds.holdout_ratio, seed=holdout_seed
        )
        least = folds.n_splits if folds.stratify and strata.ndim == 1 else 2
        tied = _explain_largest(rows, near, cluster, task=task, folds=folds)
        _check_clusters(classes[~held], cluster[~held], labels, task=task, folds=folds, least=least, tied=tied)
        for repeat in range(folds.n_repeats):
            fold = np.where(unscored, TRAIN_FOLD, HOLDOUT_FOLD)
            repeat_seed = derive_seed(seed, "split", task, repeat)
            fold[~held] = _split(strata[~held], cluster[~held], n_splits=folds.n_splits, seed=repeat_seed)
            if folds.stratify:
                _check_training_parts(classes[~held], fold[~held], labels, task=task)
            plans.append(rows[["row_id", "task"]].assign(repeat=repeat, fold=fold, cluster=cluster))
        sizes = np.bincount(cluster)
        logger.info("%s: %d rows in %d clusters, the largest of %d", task, len(rows), len(sizes), sizes.max())
        if tied:
            logger.warning("%s: folds cannot be even. %s", task, tied)
    return pd.concat(plans, ignore_index=True)[FOLDS_COLUMNS]


def _explain_largest(
    rows: pd.DataFrame, near: np.ndarray, cluster: np.ndarray, *, task: str, folds: tasks.Folds
) -> str:
    """Return what holds the largest cluster together and what to do, where it is far larger than a fold; else nothing."""
    sizes = np.bincount(cluster)
    largest, most = cluster == sizes.argmax(), TOO_LARGE * len(rows) / folds.n_splits
    if sizes.max() <= most:
        return ""
    ties = sorted(_ties(rows[largest], near[largest], folds), key=lambda tie: -tie[1])[:N_TIES]
    kinds = {kind for kind, _, _ in ties}
    remedies = []
    if "sentence" in kinds:
        if limit := _pair_limit(rows, near, largest, most=most):
            remedies.append(f"folds.group_pairs: {limit} (sentences that stand more often then link nothing)")
        remedies.append(f"folds.group_pairs: false with tasks.{task}.columns.group: <the column of the first sentence>")
    if "group" in kinds:
        remedies.append(f"another column or none as tasks.{task}.columns.group")
    if "near-duplicate" in kinds:
        remedies.append("a higher folds.near_duplicate_similarity, if these are not equal")
    through = ", ".join(f"{kind} {shown(text)} ({n} rows)" for kind, n, text in ties)
    text = (
        f"{sizes.max()} of {len(rows)} rows hang together, by what they share: {through}. Set {', or '.join(remedies)}."
    )
    cost = " Where pairs that share a sentence are parted, the score is flattered by what a model has learned of it."
    return text + cost * ("sentence" in kinds)


def _ties(rows: pd.DataFrame, near: np.ndarray, folds: tasks.Folds) -> Iterator[tuple[str, int, str]]:
    """Yield what links many of these rows: its kind, how many rows, and its text."""
    codes = [("group", pd.factorize(rows["group"])[0], rows["group"]), ("near-duplicate", near, rows["text"])]
    if folds.group_pairs is not False:
        both, numbers = _sentences(rows)
        codes.append(("sentence", numbers, both))
    for kind, numbers, texts in codes:
        counts = np.bincount(numbers[numbers >= 0])
        for number in np.argsort(-counts, kind="stable")[:N_TIES]:
            if counts[number] > 1:
                yield kind, int(counts[number]), readable(texts.iloc[int(np.argmax(numbers == number))])


def _pair_limit(rows: pd.DataFrame, near: np.ndarray, largest: np.ndarray, *, most: float) -> int | None:
    """Return the largest `group_pairs` under which no cluster has more than `most` rows, or None."""
    codes = _sentences(rows[largest])[1]
    limits = np.unique(np.bincount(codes[codes >= 0])) - 1
    limits = limits[limits > 1]

    def is_too_large(limit: int) -> bool:
        return bool(np.bincount(related_rows(rows, near, group_pairs=int(limit))).max() > most)

    n_fine = bisect_left(limits, True, key=is_too_large)
    return int(limits[n_fine - 1]) if n_fine else None


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
