"""Which rows belong together: near-duplicates, groups and shared sentences."""

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.artifacts.table import Table
from pipeline.text.linked_rows import connect
from pipeline.text.near_duplicates import cluster_texts, row_texts


def cluster_rows(table: Table, *, similarity: float | None) -> pd.DataFrame:
    """Return `task, split, row_id, cluster` of all rows; clusters span a task's training and test rows."""
    clusters = table.rows[["task", "split", "row_id"]].assign(cluster=np.int64(0))
    for task in table.labels:
        own = table.rows["task"] == task
        texts = row_texts(table.rows[own])
        clusters.loc[own, "cluster"] = cluster_texts(texts, similarity=similarity)
    return clusters


def related_rows(rows: pd.DataFrame, near: np.ndarray, *, group_pairs: bool) -> np.ndarray:
    """Return the cluster of each row, int64 (rows,): near-duplicates, equal groups and, if asked, shared sentences."""
    groups = pd.factorize(rows["group"])[0]  # missing groups are -1 and link nothing
    if not group_pairs:
        return connect(near, groups)
    both = pd.concat([rows["text"], rows["text_pair"]], ignore_index=True).fillna("")
    codes = cluster_texts(pa.array(both, pa.large_string()), similarity=None)
    codes[both.str.strip().to_numpy() == ""] = -1
    # Every row stands twice, once per sentence, so that a sentence links rows on whichever side it occurs.
    return connect(np.tile(np.arange(len(rows)), 2), np.tile(near, 2), np.tile(groups, 2), codes)[: len(rows)]
