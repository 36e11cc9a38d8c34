"""Training rows -> the fold manifest: stratified by label, clusters of related rows always whole.

Folds by scikit-learn's StratifiedGroupKFold and StratifiedKFold. Rows are put in the order of their ids first, so the
plan does not depend on the order of the file.
"""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline import params
from pipeline.artifacts import FOLDS_COLUMNS, HOLDOUT_FOLD, Table
from pipeline.exceptions import ParamsError
from pipeline.near_duplicates import cluster_texts, connect
from pipeline.reproducibility import derive_seed

# Placing a cluster costs Python time, so beyond this many singletons per class the rest is split as plain rows.
SINGLETONS_PER_CLASS = 1000

logger = logging.getLogger(__name__)


def assign_folds(table: Table, clusters: pd.DataFrame, *, folds: params.Folds, seed: int) -> pd.DataFrame:
    """Return the fold manifest of all tasks: `row_id, task, repeat, fold, cluster`, fold -1 for the hold-out.

    Args:
        table: all rows; only training rows are split.
        clusters: `task, split, row_id, cluster`: the near-duplicate clusters of all rows.
        folds: how to split.
        seed: of the whole run; each task and repeat derives its own.

    Raises:
        ParamsError: if a class, or the task, has fewer clusters outside the hold-out than folds.
    """
    plans = []
    for task, labels in table.labels.items():
        rows = table.select(task, "train").sort_values("row_id", ignore_index=True)
        keys = ["task", "split", "row_id"]
        near = rows[keys].merge(clusters, on=keys, how="left", validate="one_to_one")["cluster"].to_numpy()
        cluster = related_rows(rows, near, group_pairs=folds.group_pairs)
        classes = rows["label"].map({label: i for i, label in enumerate(labels)}).to_numpy(np.int64)
        strata = classes if folds.stratify else np.zeros(len(rows), np.int64)
        held = _draw_holdout(strata, cluster, ratio=folds.holdout_ratio, seed=derive_seed(seed, "holdout", task))
        _check_clusters(classes[~held], cluster[~held], labels, task=task, folds=folds)
        for repeat in range(folds.n_repeats):
            fold = np.full(len(rows), HOLDOUT_FOLD, np.int64)
            repeat_seed = derive_seed(seed, "split", task, repeat)
            fold[~held] = _split(strata[~held], cluster[~held], n_splits=folds.n_splits, seed=repeat_seed)
            if folds.stratify:
                _check_training_parts(classes[~held], fold[~held], labels, task=task)
            plan = pd.DataFrame({"row_id": rows["row_id"], "task": rows["task"], "repeat": repeat, "fold": fold})
            plans.append(plan.assign(cluster=cluster))
        sizes = np.bincount(cluster)
        logger.info("%s: %d rows in %d clusters, the largest of %d", task, len(rows), len(sizes), sizes.max())
    return pd.concat(plans, ignore_index=True)[FOLDS_COLUMNS]


def related_rows(rows: pd.DataFrame, near: np.ndarray, *, group_pairs: bool) -> np.ndarray:
    """Return the cluster of each row, int64 (rows,): near-duplicates, equal groups and, if asked, shared sentences."""
    groups = pd.factorize(rows["group"])[0]  # missing groups are -1 and link nothing
    if not group_pairs:
        return connect(near, groups)
    both = pd.concat([rows["text"], rows["text_pair"]], ignore_index=True).fillna("")
    codes = cluster_texts(pa.array(both, pa.large_string()), similarity=None)
    codes[both.str.strip().to_numpy() == ""] = -1
    return connect(near, groups, codes[: len(rows)], codes[len(rows) :])


def _draw_holdout(strata: np.ndarray, cluster: np.ndarray, *, ratio: float, seed: int) -> np.ndarray:
    """Return which rows are held out: whole clusters, each class near its share.

    Clusters come in random order, large ones first; one is taken when it brings the classes nearer to their shares.
    """
    counts = _counts(strata, cluster)
    target = ratio * counts.sum(axis=0)
    taken = np.zeros(len(counts), bool)
    if ratio == 0:
        return taken[cluster]
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    sizes = counts.sum(axis=1)
    several = shuffled[sizes[shuffled] > 1]
    total = np.zeros(counts.shape[1])
    for number in several[np.argsort(-sizes[several], kind="stable")]:
        if ((total + counts[number] - target) ** 2).sum() < ((total - target) ** 2).sum():
            taken[number] = True
            total += counts[number]
    singles = shuffled[sizes[shuffled] == 1]
    for label in range(counts.shape[1]):
        wanted = max(0, round(target[label] - total[label]))
        taken[singles[counts[singles, label] == 1][:wanted]] = True
    return taken[cluster]


def _split(strata: np.ndarray, cluster: np.ndarray, *, n_splits: int, seed: int) -> np.ndarray:
    """Return the fold of each row. Large clusters are placed first, then rows of their own even the folds out."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    fold = np.empty(len(strata), np.int64)
    placed = np.bincount(cluster)[cluster] > 1
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(~placed))
    for label in np.unique(strata):
        own = shuffled[strata[shuffled] == label]
        # The rest divides evenly among the folds.
        n_rest = max(0, len(own) - SINGLETONS_PER_CLASS) // n_splits * n_splits
        placed[own[n_rest:]] = True
    first, rest = np.flatnonzero(placed), np.flatnonzero(~placed)
    grouped = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    for number, (_, scored) in enumerate(grouped.split(first, strata[first], cluster[first])):
        fold[first[scored]] = number
    if len(rest):
        plain = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
        for number, (_, scored) in enumerate(plain.split(rest, strata[rest])):
            fold[rest[scored]] = number
    return fold


def _counts(strata: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Return rows per cluster and class, an int array (clusters, classes)."""
    n_classes = int(strata.max()) + 1
    flat = np.bincount(cluster * n_classes + strata, minlength=(int(cluster.max()) + 1) * n_classes)
    return flat.reshape(-1, n_classes)


def _check_clusters(
    classes: np.ndarray, cluster: np.ndarray, labels: list[str], *, task: str, folds: params.Folds
) -> None:
    outside = " outside the hold-out" if folds.holdout_ratio else ""
    n_clusters = len(np.unique(cluster))
    if n_clusters < folds.n_splits:
        raise ParamsError(
            f"folds.n_splits: must be at most the number of clusters of task {task}{outside} ({n_clusters}), got "
            f"{folds.n_splits}. Lower it, or check columns.group and folds.near_duplicate_similarity."
        )
    if not folds.stratify:
        return
    pairs = np.unique(np.stack([classes, cluster]), axis=1)
    per_class = np.bincount(pairs[0], minlength=len(labels))
    present = np.flatnonzero(per_class)
    rarest = present[np.argmin(per_class[present])]
    if per_class[rarest] < folds.n_splits:
        raise ParamsError(
            f"folds.n_splits: must be at most the rarest class's number of clusters{outside} ({per_class[rarest]}, "
            f"class {labels[rarest]!r} of task {task}), got {folds.n_splits}. Lower it or merge classes."
        )


def _check_training_parts(classes: np.ndarray, fold: np.ndarray, labels: list[str], *, task: str) -> None:
    """Refuse a plan in which some fold holds all rows of a class: its model would never see that class."""
    for label in np.unique(classes):
        folds = np.unique(fold[classes == label])
        if len(folds) < 2:
            raise ParamsError(
                f"folds: every class must be in every training part, but all rows of class {labels[label]!r} of "
                f"task {task} fall into fold {folds[0]}. Change the seed, or merge classes."
            )
