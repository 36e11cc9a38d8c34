"""The report's part on stitched models: what each is worth, whose tokens and which pairs its folds used, how it learnt."""

import statistics
from collections import Counter
from typing import Any

from markupsafe import Markup

from pipeline.artifacts.histories import ModelHistory
from pipeline.artifacts.scores import Number, StitchedScore, TaskScores, best_first, sign_of
from pipeline.report import figures

SMALLEST_GRID = 3  # encoders from which a table of pairs says more than a list


def describe(task: str, scores: TaskScores, histories: dict[str, ModelHistory]) -> dict[str, Any] | None:
    """Return what the template shows of one task's stitched models, by their histories, or None without a member."""
    stitching = scores["stitching"]
    if stitching is None:
        return None
    models = best_first(stitching["models"], scores)
    gains = sorted(((model["name"], model["gain"]) for model in models), key=lambda pair: -(pair[1]["value"] or 0))
    label = f"gain in {scores['metric']} over the better encoder"
    return {
        **stitching,
        "models": models,
        "training": [_training(model["name"], histories[model["name"]], task) for model in models],
        "grids": grids(stitching["models"], sign=sign_of(scores)),
        "gain_plot": Markup(figures.gains(task, label, gains, strong=lambda name, gain: gain["low"] > 0)),
    }


def grids(models: list[StitchedScore], *, sign: int) -> list[dict[str, Any]]:
    """Return for each head a table of the scores of pairs, encoders by row and column, each alone on the diagonal.

    Triples and pairs that folds chose for themselves have no place in it. A cell is None, or a score with its share of
    the way from the lower quartile to the best score, 0 below: one weak encoder must not level all others.
    """
    pairs = [
        model
        for model in models
        if len(model["encoders"]) == 2
        and sorted(model["name"].split("+")) == sorted([*model["encoders"], model["head"]])
    ]
    encoders = list(dict.fromkeys(encoder for pair in pairs for encoder in pair["encoders"]))
    alone: dict[tuple[str, ...], Number] = {(name, name): v for pair in pairs for name, v in pair["parents"].items()}
    known = [value for value in (*alone.values(), *(pair["score"] for pair in pairs)) if value is not None]
    if len(encoders) < SMALLEST_GRID or len(known) < SMALLEST_GRID:
        return []
    lower, _, upper = statistics.quantiles(known, n=4, method="inclusive")
    start, best = (lower, max(known)) if sign > 0 else (upper, min(known))

    def cell(score: Number) -> dict[str, float] | None:
        share = (score - start) / (best - start) if score is not None and best != start else 0.0
        return None if score is None else {"score": score, "share": max(share, 0.0)}

    tables = []
    for head in dict.fromkeys(pair["head"] for pair in pairs):
        of_head = [pair for pair in pairs if pair["head"] == head]
        scores = alone | {tuple(pair["encoders"][::step]): pair["score"] for pair in of_head for step in (1, -1)}
        rows = [{"encoder": row, "cells": [cell(scores.get((row, column))) for column in encoders]} for row in encoders]
        tables.append({"head": head, "encoders": encoders, "rows": rows})
    return tables


def _training(name: str, history: ModelHistory, task: str) -> dict[str, Any]:
    """Return one model's line of how it was made: counts over folds, time, and losses as means over folds."""
    units = [unit for unit in history["units"] if unit["task"] == task]
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
