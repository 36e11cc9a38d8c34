"""The audit: what a competitor should know about the data before believing any score, as JSON-like values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.artifacts.likeness import Likeness
from pipeline.artifacts.table import Table
from pipeline.data.preparing import label_variants
from pipeline.targets.strata import memberships
from pipeline.text.near_duplicates import encode, row_texts
from pipeline.text.templates import readable

QUANTILES = {"50": 0.5, "90": 0.9, "99": 0.99, "max": 1.0}
CJK = r"[\p{Han}\p{Hiragana}\p{Katakana}]"
WORD = r"[\p{L}\p{M}\p{N}_]+"
N_EXAMPLES = 5
EXAMPLE_CHARACTERS = 120


def count_tokens(texts: pa.Array) -> np.ndarray:
    """Return simple token counts, int array (texts,): one per Chinese or Japanese character, one per other word.

    >>> count_tokens(pa.array(["two words", "你好 world", ""])).tolist()
    [2, 3, 0]
    """
    words = pc.count_substring_regex(pc.replace_substring_regex(texts, CJK, " "), WORD)
    return pc.add(words, pc.count_substring_regex(texts, CJK)).to_numpy(zero_copy_only=False)


def audit(table: Table, clusters: pd.DataFrame, likeness: Mapping[str, Likeness]) -> dict[str, Any]:
    """Return per task what is in the files: counts, lengths, duplicates, conflicts, overlaps, odd labels, `test_likeness`.

    `clusters` has `task, split, row_id, cluster`: the near-duplicate clusters over training and test rows. `likeness` says
    of each task how well test rows can be told from training rows.
    """
    return {task: _audit_task(table, clusters, task) | {"test_likeness": likeness[task]} for task in table.labels}


def _audit_task(table: Table, clusters: pd.DataFrame, task: str) -> dict[str, Any]:
    labels = table.labels[task]
    rows = table.rows[table.rows["task"] == task]
    keys = ["task", "split", "row_id"]
    cluster = rows[keys].merge(clusters, on=keys, how="left", validate="one_to_one")["cluster"].to_numpy()
    is_train = (rows["split"] == "train").to_numpy()
    texts = row_texts(rows)
    codes, distinct = encode(texts)
    label = rows["label"].to_numpy()
    parts = {"train": is_train, "test": ~is_train}
    return {
        "rows": {split: int(chosen.sum()) for split, chosen in parts.items()},
        "classes": _classes(table, task),
        "lengths": {split: _lengths(texts.filter(pa.array(chosen))) for split, chosen in parts.items()},
        "empty_texts": {
            split: _empty_rows(rows.loc[chosen, "row_id"], texts.filter(pa.array(chosen)))
            for split, chosen in parts.items()
        },
        "duplicates": _duplicates(codes, cluster, distinct),
        "conflicting_labels": _conflicts(codes[is_train], label[is_train], distinct),
        "overlap": _overlap(rows.get("id_in_file", rows["row_id"]), codes, cluster, is_train),
        "label_variants": label_variants(labels),
    }


def _classes(table: Table, task: str) -> dict[str, int]:
    """Count the training rows of each stratum, which of labels is each label."""
    train = table.select(task, "train")
    strata, names = table.kind(task).strata(table.targets(task, train), table.labels[task])
    return dict(zip(names, memberships(strata, len(names)).sum(axis=0).tolist(), strict=True))


def _lengths(texts: pa.Array) -> dict[str, dict[str, int]]:
    characters = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    return {"characters": _quantiles(characters), "tokens": _quantiles(count_tokens(texts))}


def _quantiles(values: np.ndarray) -> dict[str, int]:
    # An auxiliary task may have no test rows.
    return {
        name: int(np.quantile(values, q, method="inverted_cdf")) if len(values) else 0 for name, q in QUANTILES.items()
    }


def _empty_rows(row_ids: pd.Series, texts: pa.Array) -> dict[str, Any]:
    """Count rows with nothing to see: empty, white space, or only characters without width."""
    empty = ~pc.match_substring_regex(texts, r"[^\s\p{Z}\p{Cf}]").to_numpy(zero_copy_only=False)
    return {"count": int(empty.sum()), "row_ids": row_ids[empty].iloc[:N_EXAMPLES].tolist()}


def _duplicates(codes: np.ndarray, cluster: np.ndarray, distinct: pa.Array) -> dict[str, Any]:
    sizes = np.bincount(cluster)
    largest = [number for number in np.argsort(-sizes, kind="stable")[:N_EXAMPLES] if sizes[number] > 1]
    return {
        "exact_rows": len(codes) - len(distinct),
        "near_rows": len(distinct) - len(np.unique(cluster)),
        "clusters": int((sizes > 1).sum()),
        "largest_clusters": [
            {"rows": int(sizes[number]), "examples": _examples(np.unique(codes[cluster == number])[:3], distinct)}
            for number in largest
        ],
    }


def _conflicts(codes: np.ndarray, labels: np.ndarray, distinct: pa.Array) -> dict[str, Any]:
    """Count training texts that stand with different labels."""
    pairs = pd.DataFrame({"code": codes, "label": labels}).drop_duplicates()
    torn = pairs[pairs.duplicated("code", keep=False)].sort_values(["code", "label"])
    shown = torn["code"].unique()[:N_EXAMPLES]
    return {
        "texts": int(torn["code"].nunique()),
        "rows": int(np.isin(codes, torn["code"]).sum()),
        "examples": [
            {"text": _examples([code], distinct)[0], "labels": torn.loc[torn["code"] == code, "label"].tolist()}
            for code in shown
        ],
    }


def _overlap(row_ids: pd.Series, codes: np.ndarray, cluster: np.ndarray, is_train: np.ndarray) -> dict[str, int]:
    """Count test rows whose id, text or near-duplicate cluster occurs in the training file."""
    return {
        "test_ids_in_train": int(row_ids[~is_train].isin(row_ids[is_train]).sum()),
        "test_texts_in_train": int(np.isin(codes[~is_train], codes[is_train]).sum()),
        "test_near_duplicates_in_train": int(np.isin(cluster[~is_train], cluster[is_train]).sum()),
    }


def _examples(codes: Any, distinct: pa.Array) -> list[str]:
    texts = [readable(distinct[int(code)].as_py()) for code in codes]
    return [text if len(text) <= EXAMPLE_CHARACTERS else text[: EXAMPLE_CHARACTERS - 1] + "…" for text in texts]
