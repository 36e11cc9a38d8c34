"""What only several keys of params.yaml together, or the file system, can show to be wrong."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import components
from pipeline.exceptions import ParamsError
from pipeline.model_sources import locate
from pipeline.params_yaml import expected

if TYPE_CHECKING:
    from pipeline.params import Augment, Component, Encoder, Params, Stitch, Task

NAME = re.compile(r"[a-z0-9_-]+")
RESERVED = {"ensemble", "scores"}
Problem = tuple[tuple[Any, ...], str]


def check_names(values: dict[str, Any]) -> Iterator[Problem]:
    """Yield the names that DVC could not address; `values` need not be right otherwise."""
    stitch = values.get("stitch")
    places: dict[tuple[str, ...], Any] = {(name,): values.get(name) for name in ("tasks", "encoders", "baselines")}
    places["stitch", "heads"] = stitch.get("heads") if isinstance(stitch, dict) else None
    for place, names in places.items():
        for name in names if isinstance(names, dict) else ():
            if not (isinstance(name, str) and NAME.fullmatch(name)):
                yield (*place, name), "names must match [a-z0-9_-]+, or DVC cannot address them. Rename it."


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
                yield (
                    ("tasks", name, *key),
                    f"must lie in {watched}/, which DVC watches, got {file}. Move the file there.",
                )
            elif not Path(file).is_file():
                remedy = "Put the competition's files there or correct the path."
                yield ("tasks", name, *key), f"no such file: {file}. {remedy}"


def check_together(params: "Params") -> Iterator[Problem]:
    """Yield the contradictions between keys that are each right by themselves."""
    known = list(params.stages)
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
    yield from ((("stitch", *key), text) for key, text in check_stitch(params.stitch, params.encoders))
    yield from ((("augment", *key), text) for key, text in check_augment(params.augment, params.tasks))
    for name, encoder in params.encoders.items():
        yield from ((("encoders", name, *key), text) for key, text in _check_encoder(encoder, params.run.device))
        if components.constant("objectives", encoder.objective.name, "READS") == "unlabelled":
            yield from ((("encoders", name, "objective"), text) for text in _check_unlabelled(params))


def _check_task(task: "Task") -> Iterator[Problem]:
    if task.kind == "binary" and task.labels is not None and len(task.labels) != 2:
        yield ("labels",), f"a binary task has two labels, got {len(task.labels)}. Set kind: multiclass."
    if task.kind == "multiclass" and task.metric.name == "f1_binary":
        yield ("metric",), "f1_binary is for two labels. Take f1_macro, or set kind: binary."


def check_stitch(stitch: "Stitch", encoders: "dict[str, Encoder]") -> Iterator[Problem]:
    """Yield what is wrong with the stitched pairs, given the encoders."""
    pairs = stitch.pairs if isinstance(stitch.pairs, list) else []
    for position, pair in enumerate(pairs):
        for name in pair:
            if name not in encoders:
                yield ("pairs", position), expected(name, encoders)
        if len(set(pair)) != len(pair):
            yield ("pairs", position), f"must name different encoders, got {pair}. Remove it."
        if any(set(pair) == set(other) for other in pairs[:position]):
            yield ("pairs", position), f"names {pair} a second time. Remove it."
    n_pairs = len(encoders) * (len(encoders) - 1) // 2
    if not isinstance(stitch.pairs, list | str) and stitch.pairs.best > n_pairs:
        yield ("pairs", "best"), f"must be at most {n_pairs}, the pairs of {len(encoders)} encoders. Lower it."
    groups = [group if group is not None else list(encoders) for group in stitch.groups(list(encoders)).values()]
    outside = [group for group in groups if stitch.tokenizer not in ("best", *group)]
    if outside or (stitch.tokenizer != "best" and not isinstance(stitch.pairs, list | str)):
        yield ("tokenizer",), f"must be best or an encoder of every pair, got {stitch.tokenizer}. Set it to best."
    if stitch.unfreeze and (stitch.features != "online" or stitch.base != "finetuned"):
        yield ("unfreeze",), "layers that learn have no fixed states. Set features: online and base: finetuned."
    if stitch.head_rows == "held_out" and stitch.base == "pretrained":
        yield (
            ("head_rows",),
            "held_out spares rows that base: pretrained has never fitted. Set base: finetuned, or head_rows: train.",
        )
    elif stitch.head_rows == "held_out":
        names = sorted({name for group in groups for name in group if name in encoders})
        ways = {(encoders[name].epoch_selection, encoders[name].inner_ratio) for name in names}
        if len(ways) > 1 or any(selection != "inner" for selection, _ in ways):
            yield (
                ("head_rows",),
                f"held_out takes the rows that {names} spared: give them epoch_selection: inner and one inner_ratio.",
            )


def check_augment(augment: "Augment", tasks: "dict[str, Task]") -> Iterator[Problem]:
    """Yield what is wrong with the copies to make: files, models, contradictions between keys."""
    for number, step in enumerate(augment.steps):
        place = ("steps", number)
        for position, name in enumerate(step.tasks or []):
            if name not in tasks:
                yield (*place, "tasks", position), expected(name, tasks)
        for one in (one for flow in step.flows for one in flow):
            yield from ((place, text) for text in _check_sources(one))
            if (step.kept_ratio or step.guide) and not components.constant(one.kind, one.name, "SPARES"):
                yield place, f"{one.name} cannot spare single words. Remove kept_ratio and guide, or take another."
        if step.guide is not None and (step.guide.by == "gradient") != (step.guide.model is not None):
            yield (*place, "guide"), "by: gradient needs a model, by: tfidf takes none. Correct one of them."
        elif step.guide is not None and step.guide.model is not None:
            yield from (((*place, "guide", "model"), text) for text in _check_folder(step.guide.model))
            if not (Path(step.guide.model) / "readout.json").is_file():
                yield (
                    (*place, "guide", "model"),
                    f"must be a fold model's folder, with readout.json: {step.guide.model}.",
                )
    quality = augment.quality
    if quality.similarity is not None:
        yield from ((("quality", "similarity"), text) for text in _check_sources(quality.similarity))
    elif (quality.min_similarity, quality.max_similarity) != (0, 1):
        yield ("quality",), "a range needs a similarity. Name one, or remove min_similarity and max_similarity."
    if quality.min_similarity > quality.max_similarity:
        yield ("quality", "min_similarity"), "must be at most max_similarity. Lower it."


def _check_unlabelled(params: "Params") -> Iterator[str]:
    """Yield why there are no texts without labels for an objective that learns from them."""
    without = [name for name, task in params.tasks.items() if task.unlabelled is None]
    if without and not params.augment.transductive:
        yield f"learns from texts without labels: give tasks.{without[0]}.unlabelled, or set augment.transductive."
    if all(step.needs_labels for step in params.augment.steps):
        yield "learns from variants of texts without labels: add one of them to augment.steps."


def _check_sources(one: "Component") -> Iterator[str]:
    """Yield what is wrong with the files and models that a component's options name."""
    for option in components.constant(one.kind, one.name, "FILES") or ():
        path = one.options.get(option)
        if path and (not Path(path).is_relative_to("models") or ".." in Path(path).parts):
            yield f"{one.name}: {option} must lie in models/, which DVC watches, got {path}. Move the file there."
        elif path and not Path(path).exists():
            yield f"{one.name}: {option}: no such file: {path}. Put it there or correct the path."
    for option in components.constant(one.kind, one.name, "MODELS") or ():
        if one.options.get(option):
            yield from (f"{one.name}: {option}: {text}" for text in _check_folder(one.options[option]))


def _check_folder(model: str) -> Iterator[str]:
    """Yield why a text is neither a folder in models/ nor a pinned hub checkpoint."""
    if Path(model).is_dir() and (not Path(model).is_relative_to("models") or ".." in Path(model).parts):
        yield f"must lie in models/, which DVC watches, got {model}. Move the folder there."
        return
    try:
        locate(model)
    except ParamsError as error:
        yield str(error)


def _check_encoder(encoder: "Encoder", device: str) -> Iterator[Problem]:
    if encoder.precision in ("bf16", "fp16") and device == "cpu":
        yield ("precision",), f"{encoder.precision} needs a GPU, but run.device is cpu. Use auto or fp32."
    if encoder.source.name == "word_vectors":
        yield from _check_vectors(encoder.source.options.get("path"))
    elif encoder.source.name == "pretrained":
        yield from _check_checkpoint(encoder.source.options)


def _check_vectors(path: str | None) -> Iterator[Problem]:
    if path is None:
        return
    if not Path(path).is_relative_to("models") or ".." in Path(path).parts:
        yield ("source", "path"), f"must lie in models/, which DVC watches, got {path}. Move the file there."
    elif not Path(path).is_file():
        yield ("source", "path"), f"no such file: {path}. Put the vectors there or correct the path."


def _check_checkpoint(options: dict[str, Any]) -> Iterator[Problem]:
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
