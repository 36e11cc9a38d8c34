"""What only several keys of params.yaml together, or the file system, can show to be wrong."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.params_yaml import expected

if TYPE_CHECKING:
    from pipeline.params import Encoder, Params, Task

NAME = re.compile(r"[a-z0-9_-]+")
RESERVED = {"ensemble", "scores"}
Problem = tuple[tuple[Any, ...], str]


def check_names(values: dict[str, Any]) -> Iterator[Problem]:
    """Yield the names that DVC could not address; `values` need not be right otherwise."""
    for section in ("tasks", "encoders", "baselines"):
        names = values.get(section)
        for name in names if isinstance(names, dict) else ():
            if not (isinstance(name, str) and NAME.fullmatch(name)):
                yield (section, name), "names must match [a-z0-9_-]+, or DVC cannot address them. Rename it."


def check_files(values: dict[str, Any]) -> Iterator[Problem]:
    """Yield the competition's files that are not there; `values` need not be right otherwise."""
    tasks = values.get("tasks")
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        submission = task.get("submission") if isinstance(task, dict) else None
        places = {("train",): task, ("test",): task, ("submission", "sample"): submission}
        for key, holder in places.items():
            file = holder.get(key[-1]) if isinstance(holder, dict) else None
            if not isinstance(file, str):
                continue
            watched = Path("data") / str(values.get("competition"))
            if not Path(file).is_relative_to(watched) or ".." in Path(file).parts:
                yield (
                    ("tasks", name, *key),
                    f"must lie in {watched}/, which DVC watches, got {file}. Move the file there.",
                )
            elif not Path(file).is_file():
                remedy = "Put the competition's files there or correct the path."
                yield ("tasks", name, *key), f"no such file: {file}. {remedy}"


def check_together(params: "Params") -> Iterator[Problem]:
    """Yield the contradictions between keys that are each right by themselves."""
    known = [*params.encoders, *params.baselines]
    for name in sorted(set(params.encoders) & set(params.baselines)):
        yield ("baselines", name), "an encoder has this name too. Rename one of them."
    for position, name in enumerate(params.stack.members or []):
        if name not in known:
            yield ("stack", "members", position), expected(name, known)
    if len(set(params.members)) != len(params.members):
        yield ("stack", "members"), "names a member twice. Remove one."
    if not params.members:
        yield ("encoders",), "there is no model. Add an encoder or a baseline."
    if params.submit.model not in ("ensemble", *params.members):
        yield ("submit", "model"), expected(params.submit.model, ["ensemble", *params.members])
    for section, names in (("encoders", params.encoders), ("baselines", params.baselines), ("tasks", params.tasks)):
        for name in sorted(RESERVED & set(names)):
            yield (section, name), "this name is taken by a file of the pipeline. Rename it."
    for name, task in params.tasks.items():
        yield from ((("tasks", name, *key), text) for key, text in _check_task(task))
    for name, encoder in params.encoders.items():
        yield from ((("encoders", name, *key), text) for key, text in _check_encoder(encoder, params.run.device))


def _check_task(task: "Task") -> Iterator[Problem]:
    if task.kind == "binary" and task.labels is not None and len(task.labels) != 2:
        yield ("labels",), f"a binary task has two labels, got {len(task.labels)}. Set kind: multiclass."
    if task.kind == "multiclass" and task.metric.name == "f1_binary":
        yield ("metric",), "f1_binary is for two labels. Take f1_macro, or set kind: binary."


def _check_encoder(encoder: "Encoder", device: str) -> Iterator[Problem]:
    if encoder.precision in ("bf16", "fp16") and device == "cpu":
        yield ("precision",), f"{encoder.precision} needs a GPU, but run.device is cpu. Use auto or fp32."
    if encoder.source.name != "pretrained":
        return
    options = encoder.source.options
    origins = [key for key in ("path", "hub_id", "package") if options.get(key)]
    if len(origins) != 1:
        yield ("source",), f"needs one of path, hub_id or package, got {origins or 'none'}. Give exactly one."
    elif origins == ["path"] and not Path(options["path"]).is_relative_to("models"):
        yield (
            ("source", "path"),
            f"must lie in models/, which DVC watches, got {options['path']}. Move the folder there.",
        )
    elif origins == ["path"] and not Path(options["path"]).is_dir():
        yield ("source", "path"), f"no such folder: {options['path']}. Put the model there or correct the path."
    elif origins == ["hub_id"] and not re.fullmatch(r"[0-9a-f]{40}", str(options.get("revision"))):
        remedy = f"A branch can move: pin the 40-hex commit of {options['hub_id']}."
        yield ("source", "revision"), f"got {options.get('revision')!r}. {remedy}"
