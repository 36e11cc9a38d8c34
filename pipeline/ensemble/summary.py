"""`metrics.json`: each task's numbers, and the mean over tasks with an interval that knows which of them share texts."""

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from pipeline import components
from pipeline.artifacts.copies import normalised
from pipeline.artifacts.scores import TaskScores, best_first, sign_of, submitted
from pipeline.artifacts.table import Table
from pipeline.ensemble.intervals import within

logger = logging.getLogger(__name__)
SHARED_RATIO = 0.01  # of the smaller task's rows: below it lie texts such as "ok" that occur anywhere


def summarise(tasks: Mapping[str, TaskScores], *, table: Table, n_left_out: int = 0) -> dict[str, Any]:
    """Return metrics.json: per task and, as the mean over submitted tasks, the numbers that `dvc metrics show` compares.

    `estimate` is the score expected on the test rows, `low` and `high` its interval, `out_of_fold` the score of the training
    rows; `best_single`, chosen for each fold on the others, and `baseline` are expected on the test rows too. The errors of
    tasks that share texts are taken to go all the same way, which is the worst that can be: their half widths add up. Those
    of other tasks are independent: squares add up. Where a metric is better high and another low there is no mean: None.
    An `auxiliary` task stands beside it and counts for nothing. `left_out` is there where a time budget left encoders or
    pairs out.
    """
    parts, counted = {name: _part(scores) for name, scores in tasks.items()}, submitted(tasks)
    whole: dict[str, Any] = {}
    have_mean = len({sign_of(scores) for scores in counted.values()}) == 1
    if not have_mean:
        logger.warning("the tasks have no mean score: a metric is better high, another low. Compare them one by one.")
    for key in ("estimate", "out_of_fold", "best_single", "baseline"):
        values = [parts[task][key] for task in counted]
        whole[key] = float(np.mean(values)) if have_mean and None not in values else None
    groups = group_by_texts(table, list(counted)) if have_mean else []
    for side, sign in (("low", -1), ("high", 1)):
        widths = (sum(abs(parts[task][side] - parts[task]["estimate"]) for task in group) for group in groups)
        whole[side] = whole["estimate"] + sign * math.hypot(*widths) / len(counted) if have_mean else None
    return whole | {"tasks": parts} | ({"left_out": n_left_out} if n_left_out else {})


def _part(scores: TaskScores) -> dict[str, Any]:
    estimate, gain = scores["estimate"], scores["gain"]
    # One model alone has no other to gain over.
    single = estimate["expected"] - sign_of(scores) * gain["value"] if gain else scores["models"][0]["expected"]
    single = within(single, components.constant("metrics", scores["metric"], "BOUNDS"))
    baselines = best_first((model for model in scores["models"] if model["kind"] == "baseline"), scores)
    return estimate["metrics"] | {
        "metric": scores["metric"], "baseline": baselines[0]["expected"] if baselines else None,
        "chosen": scores["chosen"], "estimate": estimate["expected"], "low": estimate["test_low"],
        "high": estimate["test_high"], "out_of_fold": estimate["score"], "best_single": single,
        "best_single_name": scores["best_single"], **({"auxiliary": True} if scores.get("auxiliary") else {}),
    }  # fmt: skip


def group_by_texts(table: Table, tasks: Sequence[str]) -> list[list[str]]:
    """Return the tasks in groups: those of one share training texts or test texts, or are linked by others that do.

    Two tasks share texts where more than `SHARED_RATIO` of the rows of the smaller one, in one of the two files, have their
    text in the other's file too, equal after `normalise`, of pairs both texts.
    """
    if len(tasks) < 2:
        return [list(tasks)]
    linked = np.zeros((len(tasks), len(tasks)), dtype=bool)
    for split in ("train", "test"):
        texts = [normalised(table.select(task, split)) for task in tasks]
        for first, second in combinations(range(len(tasks)), 2):
            linked[first, second] |= _shared(texts[first], texts[second]) > SHARED_RATIO
    groups: dict[int, list[str]] = {}
    for task, number in zip(tasks, connected_components(linked, directed=False)[1], strict=True):
        groups.setdefault(int(number), []).append(task)
    for group in groups.values():
        if len(group) > 1:
            logger.info("tasks %s share texts: their errors add up in the mean's interval.", ", ".join(group))
    return list(groups.values())


def _shared(first: "pd.Series[str]", second: "pd.Series[str]") -> float:
    smaller, larger = sorted((first, second), key=len)
    return float(smaller.isin(set(larger)).mean()) if len(smaller) else 0.0
