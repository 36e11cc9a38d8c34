"""The report's part on stitched models: what each is worth, whose tokens and which pairs its folds used, how it learnt."""

import statistics
from collections import Counter
from typing import Any

from markupsafe import Markup

from pipeline.artifacts.histories import ModelHistory, UnitRecord
from pipeline.report import figures

SMALLEST_GRID = 3  # encoders from which a table of pairs says more than a list


def describe(task: str, found: dict[str, Any], histories: dict[str, ModelHistory]) -> dict[str, Any] | None:
    """Return what the template shows of one task's stitched models, None without any among the members.

    Args:
        task: its name.
        found: its part of scores.json.
        histories: stitched model -> `{"units": [...]}`.
    """
    stitching = found["stitching"]
    if stitching is None:
        return None
    best_first = -1 if found["higher_is_better"] else 1
    models = sorted(stitching["models"], key=lambda one: (one["score"] is None, best_first * (one["score"] or 0)))
    units = {name: [unit for unit in one["units"] if unit["task"] == task] for name, one in histories.items()}
    return {
        **stitching,
        "models": models,
        "training": [_training(one["name"], units[one["name"]]) for one in models],
        "grids": grids(stitching["models"], higher_is_better=found["higher_is_better"]),
        "gain_plot": Markup(gain_plot(task, found["metric"], models)),
    }


def gain_plot(task: str, metric: str, models: list[dict[str, Any]]) -> str:
    """Return each model's gain over the better of its encoders with the paired interval, those surely better marked."""
    gains = [(model["name"], model["gain"]) for model in models]
    estimates = [
        figures.Estimate(name, gain["value"], gain["low"], gain["high"], strong=gain["low"] > 0)
        for name, gain in sorted(gains, key=lambda pair: -(pair[1]["value"] or 0))
        if None not in (gain["value"], gain["low"], gain["high"])
    ]
    label = f"gain in {metric} over the better encoder"
    return figures.intervals(estimates, label=label, title=f"{task}: {label}", reference=0.0)


def grids(models: list[dict[str, Any]], *, higher_is_better: bool) -> list[dict[str, Any]]:
    """Return for each head a table of the scores of pairs, encoders by row and column, each alone on the diagonal.

    Triples and pairs that folds chose for themselves have no place in it. A cell is None, or a score with its share of
    the way from the lower quartile to the best score, 0 below: one weak encoder must not level all others.
    """
    pairs = [
        one
        for one in models
        if len(one["encoders"]) == 2 and sorted(one["name"].split("+")) == sorted([*one["encoders"], one["head"]])
    ]
    encoders = list(dict.fromkeys(encoder for one in pairs for encoder in one["encoders"]))
    alone = {(name, name): value for one in pairs for name, value in one["parents"].items()}
    known = [value for value in (*alone.values(), *(one["score"] for one in pairs)) if value is not None]
    if len(encoders) < SMALLEST_GRID or len(known) < SMALLEST_GRID:
        return []
    lower, _, upper = statistics.quantiles(known, n=4, method="inclusive")
    start, best = (lower, max(known)) if higher_is_better else (upper, min(known))

    def cell(score: float | None) -> dict[str, float] | None:
        share = (score - start) / (best - start) if score is not None and best != start else 0.0
        return None if score is None else {"score": score, "share": max(share, 0.0)}

    tables = []
    for head in dict.fromkeys(one["head"] for one in pairs):
        scores = alone | {
            tuple(one["encoders"][::step]): one["score"] for one in pairs if one["head"] == head for step in (1, -1)
        }
        rows = [{"encoder": row, "cells": [cell(scores.get((row, column))) for column in encoders]} for row in encoders]
        tables.append({"head": head, "encoders": encoders, "rows": rows})
    return tables


def _training(name: str, units: list[UnitRecord]) -> dict[str, Any]:
    """Return one model's line of how it was made: counts over folds, time, and losses as means over folds."""
    groups = Counter(" + ".join(sorted(unit["encoders"])) for unit in units)
    trained = [unit for unit in units if unit["steps"]]
    epochs = [[epoch["loss"] for epoch in unit["epochs"] if epoch["loss"] is not None] for unit in trained]
    return {
        "name": name,
        "frames": Counter(unit["encoders"][0] for unit in units).most_common(),
        "pairs": groups.most_common() if len(groups) > 1 else [],
        "features": list(dict.fromkeys(unit["features"] for unit in units)),
        "seconds": sum(unit["seconds"] for unit in units),
        "first": statistics.mean(unit["steps"][0]["loss"] for unit in trained) if trained else None,
        "last": statistics.mean(losses[-1] for losses in epochs if losses) if any(epochs) else None,
        "units": units,
    }
