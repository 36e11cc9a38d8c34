"""What the file system can show to be wrong with params.yaml."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import components
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import check_checkpoint, check_length, checkpoint_folder, locate
from pipeline.params.problems import Problem

if TYPE_CHECKING:
    from pipeline.params.encoders import Encoder
    from pipeline.params.fields import Component


def check_files(values: dict[str, Any]) -> Iterator[Problem]:
    """Yield the competition's files that are not there; `values` need not be right otherwise."""
    tasks = values.get("tasks")
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        submission = task.get("submission") if isinstance(task, dict) else None
        places = {("train",): task, ("test",): task, ("unlabelled",): task, ("submission", "sample"): submission}
        for key, holder in places.items():
            file = holder.get(key[-1]) if isinstance(holder, dict) else None
            if not isinstance(file, str):
                continue
            watched = Path("data") / str(values.get("competition"))
            if not Path(file).is_relative_to(watched) or ".." in Path(file).parts:
                text = f"must lie in {watched}/, which DVC watches, got {file}. Move the file there."
                yield Problem(("tasks", name, *key), text, "E202")
            elif not os.path.isfile(file):  # pathlib raises on names that are too long
                text = f"no such file: {file}. Put the competition's files there or correct the path."
                yield Problem(("tasks", name, *key), text, "E202")


def _check_sources(one: "Component") -> Iterator[str]:
    """Yield what is wrong with the files and models that a component's options name."""
    for option in components.constant(one.kind, one.name, "FILES") or ():
        path = one.options.get(option)
        if path and (not Path(path).is_relative_to("models") or ".." in Path(path).parts):
            yield f"{one.name}: {option} must lie in models/, which DVC watches, got {path}. Move the file there."
        elif path and not os.path.exists(path):
            yield f"{one.name}: {option}: no such file: {path}. Put it there or correct the path."
    for option in components.constant(one.kind, one.name, "MODELS") or ():
        if one.options.get(option):
            yield from (f"{one.name}: {option}: {text}" for text in _check_folder(one.options[option]))


def _check_folder(model: str) -> Iterator[str]:
    """Yield why a text is neither a folder in models/ nor a pinned hub checkpoint."""
    if os.path.isdir(model) and (not Path(model).is_relative_to("models") or ".." in Path(model).parts):
        yield f"must lie in models/, which DVC watches, got {model}. Move the folder there."
        return
    try:
        locate(model)
    except ParamsError as error:
        yield str(error)


def _check_encoder(encoder: "Encoder", device: str) -> Iterator[Problem]:
    if encoder.precision in ("bf16", "fp16") and device == "cpu":
        yield Problem(("precision",), f"{encoder.precision} needs a GPU, but run.device is cpu. Use auto or fp32.")
    if encoder.source.name == "word_vectors":
        yield from _check_vectors(encoder.source.options.get("path"))
    elif encoder.source.name == "pretrained":
        yield from _check_checkpoint(encoder.source.options, encoder.max_length)
    elif encoder.source.name == "from_config":
        try:
            config = {
                "model_type": encoder.source.options.get("architecture"),
                **(encoder.source.options.get("config") or {}),
            }
            check_length(encoder.max_length, config=config, origin="source.config")
        except ParamsError as error:
            yield Problem(("max_length",), str(error).partition(": ")[2], error.code)


def _check_vectors(path: str | None) -> Iterator[Problem]:
    if path is None:
        return
    if not Path(path).is_relative_to("models") or ".." in Path(path).parts:
        text = f"must lie in models/, which DVC watches, got {path}. Move the file there."
        yield Problem(("source", "path"), text, "E204")
    elif not os.path.isfile(path):
        text = f"no such file: {path}. Put the vectors there or correct the path."
        yield Problem(("source", "path"), text, "E204")


def _check_checkpoint(options: dict[str, Any], max_length: int) -> Iterator[Problem]:
    origins = [key for key in ("path", "hub_id", "package") if options.get(key)]
    path = options.get("path")
    if len(origins) != 1:
        text = f"needs one of path, hub_id or package, got {origins or 'none'}. Give exactly one."
        yield Problem(("source",), text)
    elif path and (not Path(path).is_relative_to("models") or ".." in Path(path).parts):
        text = f"must lie in models/, which DVC watches, got {path}. Move the folder there."
        yield Problem(("source", "path"), text, "E204")
    elif path and not os.path.isdir(path):
        text = f"no such folder: {path}. Put the model there or correct the path."
        yield Problem(("source", "path"), text, "E204")
    elif origins == ["hub_id"] and not re.fullmatch(r"[0-9a-f]{40}", str(options.get("revision"))):
        remedy = f"A branch can move: pin the 40-hex commit of {options['hub_id']}."
        yield Problem(("source", "revision"), f"got {options.get('revision')!r}. {remedy}", "E204")
    else:
        try:
            folder = checkpoint_folder(**options)
            if folder is not None:
                check_checkpoint(folder, max_length=max_length)
        except ParamsError as error:
            key, _, text = str(error).partition(": ")
            yield Problem(tuple(key.split(".")), text, error.code)
