"""What a training leaves for the report and for what is made from its models: `history.json`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from pipeline.artifacts.files import read_json, read_manifest
from pipeline.artifacts.paths import OUT
from pipeline.reproducibility import digest

HISTORY = "history.json"
RollbackRecord = TypedDict("RollbackRecord", {"from": int, "to": int})  # steps


class StepRecord(TypedDict):
    """A point of the curves: means over the steps since the last one; `losses` where there are several."""

    step: int
    epoch: int
    loss: float
    losses: NotRequired[dict[str, float]]
    learning_rate: float


class EpochRecord(TypedDict):
    """An epoch: its mean loss, None if not finite, and its score on the rows that choose the epoch, higher is better."""

    epoch: int
    loss: float | None
    inner_score: float | None


class TaskWeightsRecord(TypedDict):
    """How much each task's loss counted after a step of a model of several."""

    step: int
    weights: dict[str, float]


class FirstRecord(TypedDict):
    """A task that the encoder of a fold's model learnt before, and the unit that did so."""

    task: str
    key: str


class TrainingRecord(TypedDict):
    """How a training went."""

    steps: list[StepRecord]
    epochs: list[EpochRecord]
    rollbacks: list[RollbackRecord]
    token_budget: int
    n_tokens: int
    seconds: float


class UnitRecord(TrainingRecord):
    """What the training of one fold's model left: whose it is, what it is made of, what it learnt from, how it went."""

    task: str
    repeat: int
    fold: int
    key: str
    rows: str
    """Digest of the rows that the fold allows."""
    model: str
    """Digest of the model's files."""
    numerics: dict[str, Any]
    tokens_per_second: float
    peak_memory: NotRequired[int]
    """Bytes: torch's on a GPU, else those of the process, libraries and all."""
    task_weights: NotRequired[list[TaskWeightsRecord]]
    first: NotRequired[list[FirstRecord]]
    n_rows: int
    n_copies: NotRequired[int]
    n_truncated: NotRequired[int]
    encoders: NotRequired[list[str]]
    """Of a stitched model, the frame first."""
    features: NotRequired[str]
    """Of a stitched model: cache or online."""


class SeenTexts(TypedDict):
    """Which texts a further pre-training saw: how many from where, whether of test rows, whether those of one fold alone."""

    texts: dict[str, int]
    transductive: bool
    per_fold: bool


class PretrainingRecord(TrainingRecord):
    """What a further pre-training left: of which fold (`all` or `r0-f1`), what it saw, how it went on texts held out."""

    name: str
    key: str
    seen: SeenTexts
    n_texts: int
    n_held_out: int
    n_rows: int
    notes: list[str]
    scores: list[dict[str, float]]
    """Before the first epoch and after each: perplexity, loss and what else the pretext measures; or none."""
    kept_epoch: int


class ModelHistory(TypedDict):
    """`history.json` of a model: one unit per task, repeat and fold."""

    units: list[UnitRecord]
    pretraining: NotRequired[list[PretrainingRecord]]


def read_history(folder: Path) -> list[UnitRecord]:
    """Return what training recorded in a model's folder of each task, repeat and fold."""
    units: list[UnitRecord] = read_json(folder / HISTORY)["units"]
    return units


def place_of(unit: UnitRecord) -> tuple[str, int, int]:
    """Return the task, repeat and fold of a unit."""
    return unit["task"], unit["repeat"], unit["fold"]


def read_parents(models: Iterable[str], *, encoders: Sequence[str], task: str) -> dict[str, list[str]]:
    """Return the encoders of each stitched model as its folds have used them, in the order of `encoders`."""
    return {name: parents_of(read_history(OUT / "stitch" / name), encoders=encoders, task=task) for name in models}


def parents_of(units: Iterable[UnitRecord], *, encoders: Sequence[str], task: str) -> list[str]:
    """Return the encoders that any fold of a task has stitched: two of a pair, perhaps more of `pairs: {best: n}`.

    >>> units = [{"task": "t", "encoders": ["b", "a"]}, {"task": "t", "encoders": ["a", "b"]}]
    >>> parents_of(units, encoders=["a", "b", "c"], task="t")
    ['a', 'b']
    """
    used = {encoder for unit in units if unit["task"] == task for encoder in unit["encoders"]}
    return [name for name in encoders if name in used]


def model_digest(folder: Path) -> str:
    """Return the digest of a published model's files; its history, which holds times, is left out."""
    return digest({name: file_digest for name, file_digest in read_manifest(folder).items() if name != HISTORY})
