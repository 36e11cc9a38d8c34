"""Which units in the store some params file still needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.histories import HISTORY, read_history
from pipeline.artifacts.paths import OUT
from pipeline.params.yaml_source import plain, read_yaml
from pipeline.units.stage import PARAMS, Request, Stage
from pipeline.units.store import StoredUnit

# Trainings before an encoder's last one, and the key without which there is none.
STEPS = {"finetune-pretrain": "pretrain", "finetune-alone": "average_first", "finetune-shared": "further"}
OF_ENCODERS = (*STEPS, "finetune", "predict")
# What decides which units a stage needs; for stages that are not named here it is everything.
SECTIONS = {
    "augment": ("augment",),
    "augment-flips": ("augment",),
    "baseline": ("baselines",),
    **dict.fromkeys(OF_ENCODERS, ("augment", "training", "encoders")),
}
EVERY_SECTION = ("augment", "training", "encoders", "stitch")
ALWAYS = ("competition", "seed", "tasks", "folds")
MODELS = {"baseline": "baselines", **dict.fromkeys(OF_ENCODERS, "encoders")}  # where the models of a stage stand


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


def part_of(params: Mapping[str, Any], stage: Stage) -> dict[str, Any] | None:
    """Return the settings that decide which units a stage needs; None where the params have no such model or fold.

    >>> part_of({"seed": 1, "baselines": {"tfidf": "tfidf_logistic"}, "stack": {}}, Stage("baseline", model="tfidf"))
    {'competition': None, 'seed': 1, 'tasks': None, 'folds': None, 'baselines': {'tfidf': 'tfidf_logistic'}}
    >>> part_of({"seed": 1, "encoders": {"bert": {}}}, Stage("finetune", model="roberta"))
    >>> part_of({"seed": 1, "encoders": {"bert": {"further": None}}}, Stage("finetune-shared", model="bert"))
    >>> part_of({"seed": 1, "encoders": {"bert": {"further": {}}}}, Stage("finetune-shared", model="bert"))["encoders"]
    {'bert': {'further': {}}}
    """
    part = {name: params.get(name) for name in (*ALWAYS, *SECTIONS.get(stage.kind, EVERY_SECTION))}
    if section := MODELS.get(stage.kind):
        models = params.get(section) or {}
        if stage.model not in models:
            return None
        model = models[stage.model]
        if stage.kind in STEPS and (not isinstance(model, dict) or model.get(STEPS[stage.kind]) is None):
            return None
        part[section] = {stage.model: model}
    return part if stage.fold is None or _has_fold(params, stage) else None


def _has_fold(params: Mapping[str, Any], stage: Stage) -> bool:
    """Return whether params still have the task, repeat and fold of a stage; a number that they leave out may be any."""
    folds = params.get("folds") or {}
    limits = ((stage.repeat, folds.get("n_repeats")), (stage.fold, folds.get("n_splits")))
    within = all(number is None or limit is None or number < limit for number, limit in limits)
    return within and stage.task in (params.get("tasks") or {})


def find_needs(files: Mapping[Path, dict[str, Any]], requests: list[Request], units: list[StoredUnit]) -> Needs:
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
        for stage in dict.fromkeys(request.stage for request in requests):
            part = part_of(params, stage)
            if part is None:
                continue
            asked = [request for request in requests if request.stage == stage]
            same = [request for request in asked if part_of(request.params, stage) == part]
            by_dvc = [request for request in same if request.by_dvc]
            last = by_dvc[-1:] + [request for request in same if not request.by_dvc]
            needed.update((key, str(path)) for request in last for key in request.units)
            if speaks and not by_dvc:
                relatives = [r for r in asked if r.params.get("competition") == params.get("competition")]
                why = f"{stage.name} has not run under today's {path}"
                unsure.update((key, why) for request in relatives for key in request.units)
    known = {key for request in requests for key in request.units}
    for unit in units:
        model = unit.about.get("model")
        if model in needed:  # the predictions of a model that is needed
            needed.setdefault(unit.key, needed[model])
        if unit.key not in known:
            unsure.setdefault(unit.key, "no run has left a note of it")
    return Needs(needed, unsure)


def _made_from() -> set[str]:
    """Return the keys of the units from which the models in `out/` were made."""
    paths = [path for stage in ("finetune", "stitch") for path in (OUT / stage).glob(f"*/{HISTORY}")]
    return {unit["key"] for path in paths for unit in read_history(path.parent)}
