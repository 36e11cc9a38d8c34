"""Which units the params files of the tree need, from the note that every run leaves of the units it asked for.

A unit's key cannot be computed from params alone: code, data and machine are in it. So a run notes, before it begins, its
units and the whole params.yaml; a file needs what the last run under the very same settings asked for.
"""

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from pipeline import artifacts
from pipeline.artifacts import write_atomically
from pipeline.params_yaml import plain, read_yaml
from pipeline.paths import OUT
from pipeline.reproducibility import digest

if TYPE_CHECKING:
    from pipeline.store import StoredUnit
    from pipeline.units import Unit

REQUESTS = Path(".stitchfold/requests")
PARAMS = Path("params.yaml")
OF_A_FOLD = re.compile(r"(?P<stage>stitch-[a-z]+)-(?P<task>.+)-r(?P<repeat>\d+)-f(?P<fold>\d+)")
# What decides which units a stage needs, by the first word of its name; stitching needs the most.
SECTIONS = {
    "augment": ("augment",),
    "baseline": ("baselines",),
    "finetune": ("augment", "training", "encoders"),
    "predict": ("augment", "training", "encoders"),
    "stitch": ("augment", "training", "encoders", "stitch"),
}
ALWAYS = ("competition", "seed", "tasks", "folds")
BY_MODEL = {"baselines": ("baseline",), "encoders": ("finetune", "predict")}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What a run asked for: units by key with their names, under the params.yaml of that moment."""

    stage: str
    by_dvc: bool
    params: dict[str, Any]
    units: dict[str, str]
    path: Path


@dataclass(frozen=True)
class Needs:
    """Keys of units: those that are needed, by whom, and those that may be, by why that is not known."""

    needed: dict[str, str]
    unsure: dict[str, str]


def note_request(units: "Iterable[Unit]", *, stage: str) -> None:
    """Note which units a stage is about to ask for, and under which params.yaml; nothing where there is none."""
    if not PARAMS.exists():
        return
    record = {
        "stage": stage,
        "by_dvc": "DVC_STAGE" in os.environ,  # else by hand, as ablations are: they speak for no stage
        "params": PARAMS.read_text(encoding="utf-8-sig"),
        "units": {unit.key: unit.name for unit in units},
    }
    content = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
    write_atomically(REQUESTS / f"{digest(record)[:32]}.json", content.encode())


def read_requests(folder: Path = REQUESTS) -> list[Request]:
    """Return the notes of all runs, oldest first."""
    found = []
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            found.append(Request(**{**record, "params": _parsed(record["params"])}, path=path))
        except (ValueError, TypeError, KeyError) as error:
            log.warning("%s: damaged: %s. The units that it speaks of are kept, as of nobody.", path, error)
    return found


def read_files(paths: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """Return params files as plain values, unchecked: their data need not be at hand.

    Raises:
        ParamsError: if one is not YAML, as nobody knows what it needs then.
    """
    return {path: plain(read_yaml(path, sections=list(ALWAYS))) for path in paths}


def part_of(params: Mapping[str, Any], stage: str) -> dict[str, Any] | None:
    """Return the settings that decide which units a stage of `run_units` needs; None where there is no such stage.

    >>> part_of({"seed": 1, "baselines": {"tfidf": "tfidf_logistic"}, "stack": {}}, "baseline-tfidf")
    {'competition': None, 'seed': 1, 'tasks': None, 'folds': None, 'baselines': {'tfidf': 'tfidf_logistic'}}
    >>> part_of({"seed": 1, "encoders": {"bert": {}}}, "finetune-roberta")
    """
    kind, _, model = stage.partition("-")
    found = {name: params.get(name) for name in (*ALWAYS, *SECTIONS.get(kind, SECTIONS["stitch"]))}
    for section, kinds in BY_MODEL.items():
        if kind in kinds:
            models = params.get(section) or {}
            if model not in models:
                return None
            found[section] = {model: models[model]}
    fold = OF_A_FOLD.fullmatch(stage)
    return found if fold is None or _has_fold(params, fold) else None


def find_needs(files: Mapping[Path, dict[str, Any]], requests: list[Request], units: "list[StoredUnit]") -> Needs:
    """Return which units the files need.

    A file needs what the last `dvc repro` of a stage, and every run by hand, asked for under the settings that the stage
    has in it, and what `out/` was made from. Where a stage never ran under today's settings, nobody knows which of the
    competition's units of that stage it would find: params.yaml may need them all. For a competition that is not the
    one of params.yaml, its other files count instead.
    """
    needed = dict.fromkeys(_made_from(), "out/")
    unsure: dict[str, str] = {}
    in_work = files.get(PARAMS, {}).get("competition")
    for path, params in files.items():
        speaks = path == PARAMS or params.get("competition") != in_work
        for stage in dict.fromkeys(one.stage for one in requests):
            own = part_of(params, stage)
            if own is None:
                continue
            asked = [one for one in requests if one.stage == stage]
            same = [one for one in asked if part_of(one.params, stage) == own]
            last = [one for one in same if one.by_dvc][-1:] + [one for one in same if not one.by_dvc]
            needed.update((key, str(path)) for one in last for key in one.units)
            if speaks and not any(one.by_dvc for one in same):
                relatives = (one for one in asked if one.params.get("competition") == params.get("competition"))
                why = f"{stage} has not run under today's {path}"
                unsure.update((key, why) for one in relatives for key in one.units)
    known = {key for one in requests for key in one.units}
    for unit in units:
        model = unit.about.get("model")
        if model in needed:  # the predictions of a model that is needed
            needed.setdefault(unit.key, needed[model])
        if unit.key not in known:
            unsure.setdefault(unit.key, "no run has left a note of it")
    return Needs(needed, unsure)


def _made_from() -> set[str]:
    """Return the keys of the units from which the models in `out/` were made."""
    paths = [path for stage in ("finetune", "stitch") for path in (OUT / stage).glob("*/history.json")]
    return {unit["key"] for path in paths for unit in artifacts.read_json(path)["units"]}


def _has_fold(params: Mapping[str, Any], fold: re.Match[str]) -> bool:
    """Return whether params still have a task, repeat and fold; a number that they leave out may be any."""
    folds = params.get("folds") or {}
    n_repeats, n_splits = folds.get("n_repeats"), folds.get("n_splits")
    return (
        fold["task"] in (params.get("tasks") or {})
        and (n_repeats is None or int(fold["repeat"]) < n_repeats)
        and (n_splits is None or int(fold["fold"]) < n_splits)
    )


@cache
def _parsed(text: str) -> dict[str, Any]:
    found: dict[str, Any] = plain(YAML(typ="rt").load(text))
    return found
