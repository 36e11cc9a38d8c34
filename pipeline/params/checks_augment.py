"""What is wrong with the copies to make: files, models, contradictions between keys."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.errors.exceptions import ParamsError, expected
from pipeline.model_sources import locate, misplaced
from pipeline.params.problems import Problem

if TYPE_CHECKING:
    from pipeline.params.augment import Augment
    from pipeline.params.fields import Component
    from pipeline.params.root import Params
    from pipeline.params.tasks import Task


def check_augment(augment: "Augment", tasks: "dict[str, Task]") -> Iterator[Problem]:
    """Yield what is wrong with the copies to make: files, models, contradictions between keys."""
    for number, step in enumerate(augment.steps):
        location = ("steps", number)
        for position, name in enumerate(step.tasks or []):
            if name not in tasks:
                yield Problem((*location, "tasks", position), expected(name, tasks))
        for augmenter in (augmenter for flow in step.flows for augmenter in flow):
            yield from (Problem(location, text, "E204") for text in check_sources(augmenter))
            if (step.kept_ratio or step.guide) and not augmenter.constant("SPARES"):
                text = f"{augmenter.name} cannot spare single words. Remove kept_ratio and guide, or take another."
                yield Problem(location, text)
        if step.guide is not None and (step.guide.by == "gradient") != (step.guide.model is not None):
            yield Problem(
                (*location, "guide"), "by: gradient needs a model, by: tfidf takes none. Correct one of them."
            )
        elif step.guide is not None and step.guide.model is not None:
            guide = (*location, "guide", "model")
            yield from (Problem(guide, text, "E204") for text in check_folder(step.guide.model))
            if not os.path.isfile(f"{step.guide.model}/readout.json"):
                text = f"must be a fold model's folder, with readout.json, got {step.guide.model}. Copy one to models/."
                yield Problem(guide, text, "E204")
    quality = augment.quality
    if quality.similarity is not None:
        yield from (Problem(("quality", "similarity"), text, "E204") for text in check_sources(quality.similarity))
    elif (quality.min_similarity, quality.max_similarity) != (0, 1):
        text = "a range needs a similarity. Name one, or remove min_similarity and max_similarity."
        yield Problem(("quality",), text)
    if quality.min_similarity > quality.max_similarity:
        yield Problem(("quality", "min_similarity"), "must be at most max_similarity. Lower it.")


def check_unlabelled(params: "Params") -> Iterator[str]:
    """Yield why there are no texts without labels for an objective that learns from them."""
    without = [
        name for name, task in params.tasks.items() if task.unlabelled is None and task.missing_labels != "unlabelled"
    ]
    if without and not params.augment.transductive:
        yield f"learns from texts without labels. Give tasks.{without[0]}.unlabelled, or set augment.transductive."
    if all(step.needs_labels for step in params.augment.steps):
        yield "learns from variants of texts without labels. Add a step to augment.steps that needs no labels."


def check_sources(component: "Component") -> Iterator[str]:
    """Yield what is wrong with the files and models that a component's options name."""
    name = component.name
    for option in component.constant("FILES") or ():
        path = component.options.get(option)
        if path and (text := misplaced(path, "file")):
            yield f"{name}: {option} {text}"
        elif path and not os.path.exists(path):
            yield f"{name}: {option}: no such file: {path}. Put it there or correct the path."
    for option in component.constant("MODELS") or ():
        if component.options.get(option):
            yield from (f"{name}: {option}: {text}" for text in check_folder(component.options[option]))


def check_folder(model: str) -> Iterator[str]:
    """Yield why a text is neither a folder in models/ nor a pinned hub checkpoint."""
    if os.path.isdir(model) and (text := misplaced(model, "folder")):
        yield text
        return
    try:
        locate(model)
    except ParamsError as error:
        yield str(error)
