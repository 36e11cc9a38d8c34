"""What only several keys of a training together show to be wrong."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline import components
from pipeline.errors.exceptions import expected
from pipeline.params.problems import Problem

if TYPE_CHECKING:
    from pipeline.params.encoders import Training
    from pipeline.params.tasks import Task


def check_training(training: "Training", tasks: Mapping[str, "Task"]) -> Iterator[Problem]:
    """Yield the contradictions between an encoder's, or stitch's, keys of training, and with the tasks' labels."""
    losses = [part for part in training.loss.parts() if not part.constant("COMPONENTS")]
    if all(part.constant("PENALTY") for part in losses):
        text = f"{losses[0].name} is a penalty: nothing learns from it alone. Put it beside another loss in a weighted sum."
        yield Problem(("loss",), text)
    if training.optimizer.constant("AVERAGES") and training.schedule.constant("FALLS") is not False:
        others = " or ".join(components.having("schedules", "FALLS", False))
        text = f"{training.optimizer.name} averages in the place of a falling rate. Set schedule: {others}."
        yield Problem(("schedule",), text)
    averaging = training.averaging
    if averaging is not None and training.optimizer.constant("AVERAGES"):
        text = f"{training.optimizer.name} gives an average by itself. Remove one of them."
        yield Problem(("averaging",), text)
    if averaging is not None and averaging.constant("NEEDS_SCORES") and training.epoch_selection != "inner":
        text = f"{averaging.name} chooses by scores on rows that no fold scores. Set epoch_selection: inner."
        yield Problem(("averaging",), text)
    weights = training.class_weights
    if weights is not None and (option := weights.constant("NAMES_LABELS")):
        for name, task in tasks.items():
            unknown = [label for label in weights.options.get(option, {}) if label not in (task.labels or [label])]
            for label in unknown:
                text = f"{expected(label, task.labels or [])} These are the labels of task {name}."
                yield Problem(("class_weights",), text)
