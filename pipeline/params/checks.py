"""What only several keys of params.yaml together, or the file system, can show to be wrong."""

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline import components
from pipeline.errors.exceptions import expected
from pipeline.params.checks_files import _check_encoder, _check_folder, _check_sources
from pipeline.params.problems import Problem

if TYPE_CHECKING:
    from pipeline.params.augment import Augment
    from pipeline.params.encoders import Encoder
    from pipeline.params.root import Params
    from pipeline.params.stitch import Stitch
    from pipeline.params.tasks import Task

NAME = re.compile(r"[a-z0-9_-]+")
RESERVED = {"ensemble", "scores"}


def _within(place: tuple[Any, ...], problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield problems whose locations are told from a place."""
    yield from (Problem((*place, *location), text, code) for location, text, code in problems)


def check_names(values: dict[str, Any]) -> Iterator[Problem]:
    """Yield the names that DVC could not address; `values` need not be right otherwise."""
    stitch = values.get("stitch")
    places: dict[tuple[str, ...], Any] = {(name,): values.get(name) for name in ("tasks", "encoders", "baselines")}
    places["stitch", "heads"] = stitch.get("heads") if isinstance(stitch, dict) else None
    for place, names in places.items():
        for name in names if isinstance(names, dict) else ():
            if not (isinstance(name, str) and NAME.fullmatch(name)):
                text = (
                    f"names must be text that matches [a-z0-9_-]+, or DVC cannot address them, got {name!r}. Rename it."
                )
                yield Problem((*place, name), text, "E202")


def check_together(params: "Params") -> Iterator[Problem]:
    """Yield the contradictions between keys that are each right by themselves."""
    known = list(params.stages)
    for name in sorted(set(params.encoders) & set(params.baselines)):
        yield Problem(("baselines", name), "an encoder has this name too. Rename one of them.")
    for position, name in enumerate(params.stack.members or []):
        if name not in known:
            yield Problem(("stack", "members", position), expected(name, known))
    if len(set(params.members)) != len(params.members):
        yield Problem(("stack", "members"), "names a member twice. Remove one.")
    if not params.members:
        yield Problem(("encoders",), "there is no model. Add an encoder or a baseline.")
    if params.submit.model not in ("ensemble", *params.members):
        yield Problem(("submit", "model"), expected(params.submit.model, ["ensemble", *params.members]))
    for section, names in (("encoders", params.encoders), ("baselines", params.baselines), ("tasks", params.tasks)):
        for name in sorted(RESERVED & set(names)):
            yield Problem((section, name), "this name is taken by a file of the pipeline. Rename it.")
    for name, task in params.tasks.items():
        yield from _within(("tasks", name), _check_task(task))
    yield from _within(("stitch",), check_stitch(params.stitch, params.encoders))
    yield from _within(("augment",), check_augment(params.augment, params.tasks))
    for name, encoder in params.encoders.items():
        yield from _within(("encoders", name), _check_encoder(encoder, params.run.device))
        if components.constant("objectives", encoder.objective.name, "READS") == "unlabelled":
            yield from (Problem(("encoders", name, "objective"), text) for text in _check_unlabelled(params))


def _check_task(task: "Task") -> Iterator[Problem]:
    wanted, name = components.constant(task.kind.kind, task.kind.name, "N_LABELS"), task.kind.name
    if wanted is not None and task.labels is not None and len(task.labels) != wanted:
        yield Problem(("labels",), f"a {name} task has {wanted} labels, got {len(task.labels)}. Set another kind.")
    needed = components.constant(task.metric.kind, task.metric.name, "N_LABELS")
    if needed is not None and needed != wanted:
        kinds = [
            k for k in components.available("task_kinds") if components.constant("task_kinds", k, "N_LABELS") == needed
        ]
        text = f"{task.metric.name} is for {needed} labels. Take another metric, or set kind: {' or '.join(kinds)}."
        yield Problem(("metric",), text)
    if len(set(task.labels or ())) < len(task.labels or ()):
        yield Problem(("labels",), f"each label must stand once, got {task.labels}. Remove the copies.")
    columns = task.columns
    read = [*(columns.text if isinstance(columns.text, list) else [columns.text]), columns.text_pair]
    if columns.label in read:
        yield Problem(
            ("columns", "label"), f"a text must not be the label, got {columns.label!r} for both. Correct one."
        )
    try:
        b"a".decode(task.encoding)
    except (LookupError, ValueError):
        text = f"must be a name of Python's codecs, such as gb18030, got {task.encoding!r}. Correct it."
        yield Problem(("encoding",), text, "E202")


def check_stitch(stitch: "Stitch", encoders: "dict[str, Encoder]") -> Iterator[Problem]:
    """Yield what is wrong with the stitched pairs, given the encoders."""
    pairs = stitch.pairs if isinstance(stitch.pairs, list) else []
    for position, pair in enumerate(pairs):
        for name in pair:
            if name not in encoders:
                yield Problem(("pairs", position), expected(name, encoders))
        if len(set(pair)) != len(pair):
            yield Problem(("pairs", position), f"must name different encoders, got {pair}. Remove it.")
        if any(set(pair) == set(other) for other in pairs[:position]):
            yield Problem(("pairs", position), f"names {pair} a second time. Remove it.")
    n_pairs = len(encoders) * (len(encoders) - 1) // 2
    if not isinstance(stitch.pairs, list | str) and stitch.pairs.best > n_pairs:
        text = f"must be at most {n_pairs}, the pairs of {len(encoders)} encoders, got {stitch.pairs.best}. Lower it."
        yield Problem(("pairs", "best"), text)
    groups = [group if group is not None else list(encoders) for group in stitch.groups(list(encoders)).values()]
    outside = [group for group in groups if stitch.tokenizer not in ("best", *group)]
    if outside or (stitch.tokenizer != "best" and not isinstance(stitch.pairs, list | str)):
        text = f"must be best or an encoder of every pair, got {stitch.tokenizer}. Set it to best."
        yield Problem(("tokenizer",), text)
    if stitch.unfreeze and (stitch.features != "online" or stitch.base != "finetuned"):
        text = "layers that learn have no fixed states. Set features: online and base: finetuned."
        yield Problem(("unfreeze",), text)
    if stitch.head_rows == "held_out" and stitch.base == "pretrained":
        text = "held_out spares rows that base: pretrained has never fitted. Set base: finetuned, or head_rows: train."
        yield Problem(("head_rows",), text)
    elif stitch.head_rows == "held_out":
        names = sorted({name for group in groups for name in group if name in encoders})
        ways = {(encoders[name].epoch_selection, encoders[name].inner_ratio) for name in names}
        if len(ways) > 1 or any(selection != "inner" for selection, _ in ways):
            text = f"held_out takes the rows that {names} spared. Give them epoch_selection: inner and one inner_ratio."
            yield Problem(("head_rows",), text)


def check_augment(augment: "Augment", tasks: "dict[str, Task]") -> Iterator[Problem]:
    """Yield what is wrong with the copies to make: files, models, contradictions between keys."""
    for number, step in enumerate(augment.steps):
        place = ("steps", number)
        for position, name in enumerate(step.tasks or []):
            if name not in tasks:
                yield Problem((*place, "tasks", position), expected(name, tasks))
        for one in (one for flow in step.flows for one in flow):
            yield from (Problem(place, text, "E204") for text in _check_sources(one))
            if (step.kept_ratio or step.guide) and not components.constant(one.kind, one.name, "SPARES"):
                text = f"{one.name} cannot spare single words. Remove kept_ratio and guide, or take another."
                yield Problem(place, text)
        if step.guide is not None and (step.guide.by == "gradient") != (step.guide.model is not None):
            yield Problem((*place, "guide"), "by: gradient needs a model, by: tfidf takes none. Correct one of them.")
        elif step.guide is not None and step.guide.model is not None:
            guide = (*place, "guide", "model")
            yield from (Problem(guide, text, "E204") for text in _check_folder(step.guide.model))
            if not os.path.isfile(f"{step.guide.model}/readout.json"):
                text = f"must be a fold model's folder, with readout.json, got {step.guide.model}. Copy one to models/."
                yield Problem(guide, text, "E204")
    quality = augment.quality
    if quality.similarity is not None:
        yield from (Problem(("quality", "similarity"), text, "E204") for text in _check_sources(quality.similarity))
    elif (quality.min_similarity, quality.max_similarity) != (0, 1):
        text = "a range needs a similarity. Name one, or remove min_similarity and max_similarity."
        yield Problem(("quality",), text)
    if quality.min_similarity > quality.max_similarity:
        yield Problem(("quality", "min_similarity"), "must be at most max_similarity. Lower it.")


def _check_unlabelled(params: "Params") -> Iterator[str]:
    """Yield why there are no texts without labels for an objective that learns from them."""
    without = [n for n, one in params.tasks.items() if one.unlabelled is None and one.missing_labels != "unlabelled"]
    if without and not params.augment.transductive:
        yield f"learns from texts without labels. Give tasks.{without[0]}.unlabelled, or set augment.transductive."
    if all(step.needs_labels for step in params.augment.steps):
        yield "learns from variants of texts without labels. Add a step to augment.steps that needs no labels."
