"""Which rows belong together by what they share: near-duplicates, groups, sentences of pairs, texts of another task."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.sparse.csgraph import connected_components

from pipeline.errors.exceptions import shown
from pipeline.text.near_duplicates import cluster_texts, connect, row_texts
from pipeline.text.templates import readable

N_TIES = 3
TOO_LARGE = 1.5  # of a fold's share of the rows: a larger cluster makes folds that are far from even


def related_rows(rows: pd.DataFrame, near: np.ndarray, *, group_pairs: bool | int) -> np.ndarray:
    """Return the cluster of each row, int64 (rows,): near-duplicates, equal groups and, if asked, shared sentences.

    With a number as `group_pairs` sentences that stand more often than that link nothing.
    """
    groups = pd.factorize(rows["group"])[0]  # missing groups are -1 and link nothing
    if group_pairs is False:
        return connect(near, groups)
    codes = sentences(rows)[1]
    if group_pairs is not True:
        codes[np.bincount(codes + 1)[codes + 1] > group_pairs] = -1
    # Every row stands twice, once per sentence, so that a sentence links rows on whichever side it occurs.
    return connect(np.tile(np.arange(len(rows)), 2), np.tile(near, 2), np.tile(groups, 2), codes)[: len(rows)]


def sentences(rows: pd.DataFrame) -> tuple[pd.Series, np.ndarray]:
    """Return first and then second sentences of pairs, (2 N,), and a number for each that equal ones share, -1 for blanks."""
    both = pd.concat([rows["text"], rows["text_pair"]], ignore_index=True).fillna("")
    codes = cluster_texts(pa.array(both, pa.large_string()), similarity=None)
    codes[both.str.strip().to_numpy() == ""] = -1
    return both, codes


def across_tasks(
    rows: Mapping[str, pd.DataFrame], clusters: Mapping[str, np.ndarray], *, similarity: float | None
) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
    """Yield the tasks in groups, those together that share texts, with the cluster of each row (N,) of each task.

    Clusters of one group are one if they share a text, or a sentence of a pair: a model of several tasks, or a stack of them,
    must not learn in one task what it is scored on in another. A task that shares nothing keeps its clusters.
    """
    names, sizes = list(rows), [len(part) for part in rows.values()]
    firsts = np.cumsum([0, *(int(clusters[name].max(initial=-1)) + 1 for name in names)])
    own = np.concatenate([clusters[name] + first for name, first in zip(names, firsts, strict=False)])
    of_task = np.repeat(np.arange(len(names)), sizes)
    everything = pd.concat(list(rows.values()), ignore_index=True)
    if len(names) > 1:
        alike = _between(cluster_texts(row_texts(everything), similarity=similarity), of_task)
        spoken = _between(sentences(everything)[1], np.tile(of_task, 2))
        own = connect(np.tile(own, 2), np.tile(alike, 2), spoken)[: len(own)]
    pairs = np.unique(np.stack([of_task, own]), axis=1)
    shared = np.zeros((len(names), len(names)), bool)
    for number in np.flatnonzero(np.bincount(pairs[1]) > 1):
        group = pairs[0, pairs[1] == number]
        shared[group[0], group] = True
    for group in range(int((labels := connected_components(shared, directed=False)[1]).max()) + 1):
        members = np.flatnonzero(labels == group)
        chosen = [names[place] for place in members]
        if len(chosen) == 1:
            yield chosen, {chosen[0]: clusters[chosen[0]]}
            continue
        numbers = np.unique(own[np.isin(of_task, members)], return_inverse=True)[1]
        cuts = np.cumsum([sizes[place] for place in members])[:-1]
        yield chosen, dict(zip(chosen, np.split(numbers, cuts), strict=True))


def _between(codes: np.ndarray, of_task: np.ndarray) -> np.ndarray:
    """Return codes that stand in several tasks, -1 for the others."""
    known = codes >= 0
    pairs = np.unique(np.stack([codes[known], of_task[known]]), axis=1)
    several = np.flatnonzero(np.bincount(pairs[0], minlength=1) > 1)
    return np.where(np.isin(codes, several), codes, -1)


def explain_largest(
    rows: pd.DataFrame, near: np.ndarray, cluster: np.ndarray, *, task: str, n_splits: int, group_pairs: bool | int
) -> str:
    """Return what holds the largest cluster together and what to do, where it is far larger than a fold; else nothing."""
    sizes = np.bincount(cluster)
    largest, most = cluster == sizes.argmax(), TOO_LARGE * len(rows) / n_splits
    if sizes.max() <= most:
        return ""
    ties = sorted(_ties(rows[largest], near[largest], group_pairs), key=lambda tie: -tie[1])[:N_TIES]
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


def _ties(rows: pd.DataFrame, near: np.ndarray, group_pairs: bool | int) -> Iterator[tuple[str, int, str]]:
    """Yield what links many of these rows: its kind, how many rows, and its text."""
    codes = [("group", pd.factorize(rows["group"])[0], rows["group"]), ("near-duplicate", near, rows["text"])]
    if group_pairs is not False:
        both, numbers = sentences(rows)
        codes.append(("sentence", numbers, both))
    for kind, numbers, texts in codes:
        counts = np.bincount(numbers[numbers >= 0])
        for number in np.argsort(-counts, kind="stable")[:N_TIES]:
            if counts[number] > 1:
                yield kind, int(counts[number]), readable(texts.iloc[int(np.argmax(numbers == number))])


def _pair_limit(rows: pd.DataFrame, near: np.ndarray, largest: np.ndarray, *, most: float) -> int | None:
    """Return the largest `group_pairs` under which no cluster has more than `most` rows, or None."""
    codes = sentences(rows[largest])[1]
    limits = np.unique(np.bincount(codes[codes >= 0])) - 1
    limits = limits[limits > 1]

    def is_too_large(limit: int) -> bool:
        return bool(np.bincount(related_rows(rows, near, group_pairs=int(limit))).max() > most)

    n_fine = bisect_left(limits, True, key=is_too_large)
    return int(limits[n_fine - 1]) if n_fine else None
