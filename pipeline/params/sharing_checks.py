"""What is wrong with models of several tasks, given the tasks."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipeline.errors.exceptions import expected
from pipeline.params.problems import Problem

if TYPE_CHECKING:
    from pipeline.params.encoders import Encoder
    from pipeline.params.tasks import Task


def check_sharing(encoder: "Encoder", tasks: "dict[str, Task]") -> Iterator[Problem]:
    """Yield the contradictions between an encoder's way of sharing, its other keys, and the tasks."""
    yield from _check_of_task(encoder, tasks)
    way, weighting = encoder.sharing, encoder.task_weighting
    if not encoder.shares:
        if {"task_weighting", "task_batches"} & encoder.model_fields_set:
            yield Problem(("task_weighting",), "is for one model of several tasks. Set sharing, or remove it.")
        return
    if len(tasks) < 2:
        yield Problem(("sharing",), f"{way.name} is for several tasks, got one. Remove it.")
    if weighting.constant("NEEDS_ALL") and not encoder.task_batches.mixed:
        text = (
            f"{weighting.name} compares the tasks within each step. Set task_batches: {{mixed: true}}, or take another."
        )
        yield Problem(("task_weighting",), text)
    if weighting.constant("NEEDS_ALL") and way.constant("ENCODERS") != "one":
        text = f"{weighting.name} reads gradients at an encoder that tasks share; {way.name} has one of each. Take another."
        yield Problem(("task_weighting",), text)
    if option := weighting.constant("NAMES_TASKS"):
        for name, weight in weighting.options.get(option, {}).items():
            if name not in tasks:
                yield Problem(("task_weighting",), f"{option}: {expected(name, list(tasks))}")
            elif not 0 <= weight < float("inf"):
                yield Problem(("task_weighting",), f"{option}: must be 0 or more, got {weight} for {name}. Correct it.")
    if encoder.adversarial is not None:
        text = f"{encoder.adversarial.name} moves what one task reads. Remove it, or set sharing: separate."
        yield Problem(("adversarial",), text)
    if encoder.objective.constant("READS") == "unlabelled":
        text = f"{encoder.objective.name} is for models of one task. Take another, or set sharing: separate."
        yield Problem(("objective",), text)


def _check_of_task(encoder: "Encoder", tasks: "dict[str, Task]") -> Iterator[Problem]:
    for name in encoder.of_task:
        if name not in tasks:
            yield Problem(("of_task", name), expected(name, list(tasks)))
            continue
        try:
            encoder.for_task(name)
        except ValidationError as error:
            yield Problem(("of_task", name), error.errors()[0]["msg"])
    layers: dict[tuple[str, ...], int | None] = {("layer",): encoder.layer}
    layers |= {("of_task", name, "layer"): part.layer for name, part in encoder.of_task.items()}
    given = {location: layer for location, layer in layers.items() if layer is not None}
    n_layers = encoder.source.call("state_shape")[0] if given else None
    for location, layer in given.items():
        if n_layers is not None and layer > n_layers:
            yield Problem(location, f"must be at most {n_layers}, the layers of the encoder, got {layer}. Lower it.")
