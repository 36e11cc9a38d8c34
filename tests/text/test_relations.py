"""Rows of several tasks that belong together: a text or sentence that stands in two tasks is one cluster."""

import numpy as np
import pandas as pd
import pytest

from pipeline.text.relations import across_tasks


def rows(texts: list[str], pairs: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"text": texts, "text_pair": pairs, "group": None}).astype({"text": "str", "text_pair": "str"})


def test_tasks_that_share_a_sentence_are_one_group_and_the_rows_one_cluster() -> None:
    parts = {
        "pairs": rows(["Rain falls.", "A dog runs."], ["It is wet.", "A cat runs."]),
        "alone": rows(["Nothing in common", "At all"]),
        "single": rows(["something else", "a dog runs."]),
    }
    clusters = {name: np.arange(len(part)) for name, part in parts.items()}
    groups = dict(("+".join(names), found) for names, found in across_tasks(parts, clusters, similarity=None))
    assert set(groups) == {"pairs+single", "alone"}
    assert groups["alone"]["alone"] is clusters["alone"]
    found = groups["pairs+single"]
    assert found["pairs"][1] == found["single"][1]
    assert len({*found["pairs"], *found["single"]}) == 3


@pytest.mark.parametrize(("similarity", "n_groups"), [(None, 2), (0.6, 1)])
def test_near_duplicates_of_another_task_are_found_as_within_one(similarity: float | None, n_groups: int) -> None:
    text = "the quick brown fox jumps over the lazy dog and runs away into the dark forest"
    parts = {"a": rows([text, "one"]), "b": rows([text + " again", "two"])}
    clusters = {name: np.arange(2) for name in parts}
    assert len(list(across_tasks(parts, clusters, similarity=similarity))) == n_groups
