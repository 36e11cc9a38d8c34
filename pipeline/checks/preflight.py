"""Before hours are spent: is there disk for what is still to be computed, memory for the workers, room for the texts?"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import AUDIT, encoder_recipe_path, stage_recipe_path
from pipeline.checks.torn_files import torn_lines
from pipeline.checks.unit_needs import Need, encoder_needs, state_width, stitch_need, worker_count
from pipeline.errors.exceptions import MachineError
from pipeline.number_formats import size_text
from pipeline.params.encoders import Encoder
from pipeline.params.root import Params, Run
from pipeline.recipes.stage_recipes import settings_of
from pipeline.units.store import STORE

MARGIN = 1.2  # free disk over what is needed
STATE_BYTES_PER_VALUE = 2
TEXT_BYTES_PER_TOKEN = 3
COMPRESSION = 4  # a compressed text file grows to about so many times its size
QUANTILES = (("50", "half"), ("90", "10 %"), ("99", "1 %"))
log = logging.getLogger(__name__)


def preflight(params: Params) -> Iterator[str]:
    """Yield, as lines, what the run still has to compute, the disk and memory for that, and texts that will be cut off.

    Raises:
        MachineError: if the disk is too small.
    """
    yield from torn_lines()
    places = list(product(params.tasks, range(params.folds.n_repeats), range(params.folds.n_splits)))
    needs, run, seed = [], params.run, params.seed
    for name, encoder in params.encoders.items():
        needs += encoder_needs(name, encoder, places, run=run, seed=seed, recipe=_recipe(name, encoder))
    if params.stitch.models(list(params.encoders)):
        path = stage_recipe_path("stitch")
        heads = read_json(path)["train"] if path.exists() else {}
        needs.append(stitch_need(params.stitch, params.encoders, places, run=run, seed=seed, recipes=heads))
    yield describe(needs)
    yield check_disk(needs, more=written_bytes(params))
    yield from check_memory(needs, run=params.run)
    yield from check_states(params)
    yield from check_lengths(params.encoders)


def check_stage(needs: Sequence[Need]) -> None:
    """Before a stage begins, refuse a disk that is too small for what it still has to compute.

    Raises:
        MachineError: if it is.
    """
    if any(need.n_open for need in needs):
        log.info("still to be computed:\n%s", describe(needs))
        log.info("%s", check_disk(needs))


def _recipe(name: str, encoder: Encoder) -> dict[str, Any]:
    """Return the recipe under which the unit store has an encoder's finished models; empty where there can be none."""
    path = encoder_recipe_path(name)
    recipe: dict[str, Any] = read_json(path) if path.exists() else {}
    return recipe if recipe.get("settings") == settings_of(encoder) else {}


def check_disk(needs: Sequence[Need], *, more: int = 0) -> str:
    """Return a line about the disk; `more` bytes are written besides what the needs say.

    Raises:
        MachineError: if less than 1.2 times what is needed is free.
    """
    kept, passing = sum(need.kept for need in needs), max((need.passing for need in needs), default=0)
    needed, free = kept + passing + more, free_bytes()
    named = {"models": kept, "checkpoints": passing, "tables and predictions": more}
    parts = ", ".join(f"{size_text(n_bytes)} of {name}" for name, n_bytes in named.items() if n_bytes)
    if free < MARGIN * needed:
        largest = max(needs, key=lambda need: need.kept + need.passing)
        raise MachineError(
            f"disk: {MARGIN} x {size_text(needed)} must be free for what is still to be written ({parts}; most of it for "
            f"{largest.name}), got {size_text(free)}. Free space (stitchfold clean lists what no params file needs), or "
            "lower run.n_workers, folds.n_splits or the number of models.",
            code="E407",
        )
    return f"disk: {size_text(needed)} still to be written ({parts or 'nothing'}), {size_text(free)} free"


def free_bytes() -> int:
    """Return the bytes that are free where the unit store lies."""
    return shutil.disk_usage(STORE if STORE.is_dir() else Path()).free


def written_bytes(params: Params) -> int:
    """Return about how many bytes tables and predictions take, each row of them as much as its text, which is plenty."""
    tables, predictions = 0, 0
    for task in params.tasks.values():
        train, unlabelled = (_text_bytes(file) for file in (task.train, task.unlabelled))
        test = sum(map(_text_bytes, task.tests.values()))
        tables += train + test + unlabelled
        predictions += params.folds.n_repeats * (train + params.folds.n_splits * test)
    return tables + len(params.members) * predictions


def _text_bytes(file: str | None) -> int:
    growth = COMPRESSION if Path(file or "").suffix in (".gz", ".zip", ".parquet") else 1
    return 0 if file is None else Path(file).stat().st_size * growth


def check_memory(needs: Sequence[Need], *, run: Run) -> Iterator[str]:
    """Yield a line about the memory of the largest workers side by side, and a warning where there is less of it."""
    n_workers, available = worker_count(run), psutil.virtual_memory().available
    largest = max((need.memory or 0 for need in needs if need.n_open), default=0)
    yield f"memory: {n_workers} x {size_text(largest)} and what the texts of a step take, {size_text(available)} available"
    if n_workers * largest > available:
        yield "memory: WARNING, that is too little. Lower run.n_workers, or free memory; --dry-steps tries the longest texts."


def check_states(params: Params) -> Iterator[str]:
    """Yield a warning where the states of a fold's frozen encoders will not fit on the disk."""
    settings = params.stitch
    if settings.features == "online" or settings.unfreeze or not settings.models(list(params.encoders)):
        return
    texts = max(sum(map(_text_bytes, (task.train, *task.tests.values()))) for task in params.tasks.values())
    widths = sum(state_width(encoder.source) for encoder in params.encoders.values())
    needed = STATE_BYTES_PER_VALUE * widths * texts // TEXT_BYTES_PER_TOKEN
    if MARGIN * needed > free_bytes():
        yield (
            f"disk: WARNING, the states that a fold's heads read take up to {size_text(needed)}. Where they do not fit they "
            "are computed anew in every epoch, which is slower. Free space to avoid that."
        )


def check_lengths(encoders: Mapping[str, Encoder]) -> Iterator[str]:
    """Yield a warning for each encoder that cuts off a hundredth of a task's texts or more, once prepare has measured them.

    A token is a word or a part of one, so at least so many are cut off.
    """
    for task, audit in (read_json(AUDIT) if AUDIT.exists() else {}).items():
        words = audit["lengths"]["train"]["tokens"]
        for name, encoder in encoders.items():
            if share := next((share for quantile, share in QUANTILES if words[quantile] > encoder.max_length), None):
                yield (
                    f"lengths: WARNING, {name} reads {encoder.max_length} tokens, and at least {share} of the texts of "
                    f"{task} have more words than that. See max_length, truncation and window."
                )


def describe(needs: Sequence[Need]) -> str:
    """Return what is still to be computed as a table."""
    head = ("", "finished", "each model", "checkpoints", "each worker")
    sizes = [[size_text(n_bytes) for n_bytes in (need.model, need.checkpoints, need.memory)] for need in needs]
    rows = [(need.name, f"{need.n_done} of {need.n_units}", *row) for need, row in zip(needs, sizes, strict=True)]
    return tabulate(rows, head, tablefmt="plain", colalign=("left", *["right"] * 4))
