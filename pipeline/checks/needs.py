"""Which units in the store some params file still needs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.files import read_json
from pipeline.artifacts.paths import OUT
from pipeline.params.yaml_source import plain, read_yaml
from pipeline.units.requests import PARAMS, Request

if TYPE_CHECKING:
    from pipeline.units.store import StoredUnit


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


@dataclass(frozen=True)
class Needs:
    """Keys of units: those that are needed, by whom, and those that may be, by why that is not known."""

    needed: dict[str, str]
    unsure: dict[str, str]


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
    return {unit["key"] for path in paths for unit in read_json(path)["units"]}


def _has_fold(params: Mapping[str, Any], fold: re.Match[str]) -> bool:
    """Return whether params still have a task, repeat and fold; a number that they leave out may be any."""
    folds = params.get("folds") or {}
    n_repeats, n_splits = folds.get("n_repeats"), folds.get("n_splits")
    return (
        fold["task"] in (params.get("tasks") or {})
        and (n_repeats is None or int(fold["repeat"]) < n_repeats)
        and (n_splits is None or int(fold["fold"]) < n_splits)
    )
