"""Recipes: for every encoder its resolved settings and the digest of the code they name; for every stage its code.

A stage depends on its recipe instead of on folders of code, so only what reaches it makes it run again. Imports no torch.
"""

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline import components
from pipeline.exceptions import ParamsError
from pipeline.fingerprint import Definition, code_digests
from pipeline.params import Encoder, Params
from pipeline.params_base import Component
from pipeline.reproducibility import digest

# How often a checkpoint is written changes nothing that comes out; copies stand in the key by themselves.
NOT_IN_KEY = {"checkpoint_seconds", "augment"}
CHECKPOINT_SUFFIXES = (".json", ".txt", ".model", ".spm", ".safetensors")
TRAIN_START = ("pipeline.fold_training", "train_fold")
PREDICT_START = ("pipeline.fold_training", "predict_fold")
STATES_START = ("pipeline.features", "extract")
NUMERICS_START = ("pipeline.reproducibility", "fixed_numerics")  # every unit is computed within it


def encoder_recipe(params: Params, name: str) -> dict[str, Any]:
    """Return an encoder's recipe.

    `train` and `predict` stand for all that a unit of training or prediction depends on besides rows, seed and machine.
    """
    settings = params.encoders[name]
    used = list(named_components(settings))
    metrics = {}
    if settings.epoch_selection == "inner":  # only then a metric has a say in training
        used += [task.metric for task in params.tasks.values()]
        metrics = {name: task.metric.model_dump() for name, task in params.tasks.items()}
    training, predicting = (_unit_code(start, used) for start in (TRAIN_START, PREDICT_START))
    recipe = {"settings": settings_of(settings), "source": _source_digest(settings.source), "metrics": metrics}
    return {
        **recipe,
        "train": digest({**recipe, "code": training}),
        "predict": digest(predicting),
        "code": {**training, **predicting},
        "stage": digest(code_digests([("stages.finetune", "main")])),
    }


def stage_recipe(params: Params, stage: str) -> dict[str, Any]:
    """Return the digests of the code of a stage and of the components that it may load; of each baseline by itself."""
    sections: dict[str, Any] = {
        "baseline": params.baselines,
        "augment": params.augment,
        "stitch": [params.stitch, params.tasks],
        "stack": [params.stack, params.tasks],
        "submit": params.tasks,
        "report": [params.stack, params.tasks],
    }
    starts = [(f"stages.{stage}", "main"), *_starts(named_components(sections.get(stage)))]
    if stage == "stack":
        starts.append((components.module_of("stackers", "mean"), "build"))  # the ladder of a single member
    recipe: dict[str, Any] = {"code": code_digests(starts)}
    if stage == "augment":
        recipe |= _augment_digests(params)
    if stage == "stitch":
        recipe |= _stitch_digests(params)
    if stage == "baseline":
        fit = ("pipeline.baselining", "fit_and_predict")
        recipe["units"] = {name: digest(_unit_code(fit, [one])) for name, one in params.baselines.items()}
    return recipe


def _augment_digests(params: Params) -> dict[str, Any]:
    """Return the digests of the code and files of each step, and of the code that finds flipped labels."""
    quality = params.augment.quality
    steps = []
    for step in params.augment.steps:
        used = list(named_components([step, quality.similarity] if quality.similarity else step))
        files = [_source_digest(one) for one in used]
        if step.guide is not None and step.guide.model is not None:
            files.append(_file_digests(Path(step.guide.model)))
        steps.append(digest([_unit_code(("pipeline.copying", "make_copies"), used), files]))
    flips = _unit_code(("pipeline.screening", "find_flips"), [quality.flip_model])
    return {"steps": steps, "flips": digest(flips)}


def _stitch_digests(params: Params) -> dict[str, dict[str, str]]:
    """Return the digests of the code that computes each encoder's states and that trains and applies each head."""
    states = {
        name: digest([_unit_code(STATES_START, named_components(settings)), _source_digest(settings.source)])
        for name, settings in params.encoders.items()
    }
    settings = params.stitch
    metrics = [task.metric for task in params.tasks.values()] if settings.epoch_selection == "inner" else []
    common = list(named_components([settings.fusion, settings.loss, settings.optimizer, settings.schedule, *metrics]))
    recipe: dict[str, dict[str, str]] = {"states": states, "train": {}, "predict": {}}
    for name, head in settings.heads.items():
        used = [*common, head, *filter(None, [settings.pooling_of(head)])]
        recipe["train"][name] = digest(_unit_code(("pipeline.stitched_training", "train_stitched"), used))
        recipe["predict"][name] = digest(_unit_code(("pipeline.stitched_training", "predict_stitched"), used))
    return recipe


def settings_of(settings: Encoder) -> dict[str, Any]:
    """Return the settings that decide an encoder's results, as JSON."""
    return settings.model_dump(exclude=NOT_IN_KEY)


def named_components(value: Any) -> Iterator[Component]:
    """Yield the components named anywhere in a part of the params."""
    if isinstance(value, Component):
        yield value
    elif isinstance(value, BaseModel):
        yield from named_components([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, dict):
        yield from named_components(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from named_components(item)


def _unit_code(start: Definition, used: Iterable[Component]) -> dict[str, str]:
    """Return the digests of the code of a unit's work, which uses these components."""
    return code_digests([NUMERICS_START, start, *_starts(used)])


def _starts(used: Iterable[Component]) -> list[Definition]:
    used = list(used)
    starts = {(components.module_of(one.kind, one.name), "build") for one in used}
    return sorted(
        starts | {(components.module_of(one.kind, one.name), "restore") for one in used if one.kind == "encoders"}
    )


def _source_digest(source: Component) -> dict[str, str]:
    """Return the digests of the files of a local checkpoint, or of a single file; a hub checkpoint is named by its commit.

    Beside them stand the versions of the libraries that only this source uses: its `LIBRARIES`.
    """
    options: dict[str, Any] = source.options
    digests: dict[str, str] = {}
    for library in components.constant(source.kind, source.name, "LIBRARIES") or ():
        try:
            digests[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError as error:
            raise ParamsError(f"source: {source.name} needs {library}. `pip install {library}`.") from error
    for option in components.constant(source.kind, source.name, "FILES") or ():
        digests |= _file_digests(Path(options.get(option) or ""), suffixes=None)
    digests |= _file_digests(Path(options.get("path") or ""))
    for option in components.constant(source.kind, source.name, "MODELS") or ():
        digests |= {f"{option}/{name}": one for name, one in _file_digests(Path(options.get(option) or "")).items()}
    if options.get("package"):
        name, _, inner = options["package"].partition("/")
        spec = importlib.util.find_spec(name)
        if spec and spec.submodule_search_locations:
            digests |= _file_digests(Path(spec.submodule_search_locations[0]) / inner)
    return digests


def _file_digests(place: Path, suffixes: tuple[str, ...] | None = CHECKPOINT_SUFFIXES) -> dict[str, str]:
    """Return the digests of a file, or of a folder's files with these endings (None: any); of nothing where nothing is."""
    if place == Path() or not place.exists():
        return {}
    inside = sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else []
    files = [place] if place.is_file() else [one for one in inside if suffixes is None or one.suffix in suffixes]
    digests = {}
    for path in files:
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
