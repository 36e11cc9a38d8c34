"""What a training leaves for the report and for what is made from its models."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import read_json
from pipeline.artifacts.folders import MANIFEST
from pipeline.artifacts.paths import OUT
from pipeline.reproducibility import digest


def read_parents(models: Iterable[str], *, encoders: Sequence[str], task: str) -> dict[str, list[str]]:
    """Return the encoders of each stitched model as its folds have used them, in the order of `encoders`."""
    histories = {name: read_json(OUT / "stitch" / name / "history.json") for name in models}
    return {name: parents_of(one["units"], encoders=encoders, task=task) for name, one in histories.items()}


def parents_of(units: Iterable[Mapping[str, Any]], *, encoders: Sequence[str], task: str) -> list[str]:
    """Return the encoders that any fold of a task has stitched: two of a pair, perhaps more of `pairs: {best: n}`.

    >>> units = [{"task": "t", "encoders": ["b", "a"]}, {"task": "t", "encoders": ["a", "b"]}]
    >>> parents_of(units, encoders=["a", "b", "c"], task="t")
    ['a', 'b']
    """
    used = {encoder for unit in units if unit["task"] == task for encoder in unit["encoders"]}
    return [name for name in encoders if name in used]


def model_digest(folder: Path) -> str:
    """Return the digest of a published model's files; its history, which holds times, is left out."""
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return digest({name: one for name, one in files.items() if name != HISTORY})


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Return what fine-tuning recorded in an encoder's folder of each task, repeat and fold."""
    units: list[dict[str, Any]] = read_json(folder / HISTORY)["units"]
    return units


HISTORY = "history.json"
