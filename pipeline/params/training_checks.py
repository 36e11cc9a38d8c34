"""What only several keys of a training, or of a model of several tasks, together show to be wrong."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipeline import components
from pipeline.errors.exceptions import expected
from pipeline.params.problems import Problem

if TYPE_CHECKING:
    from pipeline.params.encoders import Encoder, Training
    from pipeline.params.fields import Component
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
    yield from _check_adversarial(training)
    weights = training.class_weights
    if weights is not None and (option := weights.constant("NAMES_LABELS")):
        for name, task in tasks.items():
            unknown = [label for label in weights.options.get(option, {}) if label not in (task.labels or [label])]
            for label in unknown:
                text = f"{expected(label, task.labels or [])} These are the labels of task {name}."
                yield Problem(("class_weights",), text)


def _check_adversarial(training: "Training") -> Iterator[Problem]:
    """Yield why an adversarial training would never begin, or have nothing to move."""
    adversarial, source = training.adversarial, getattr(training, "source", None)
    if adversarial is None:
        return
    if training.adversarial_start_epoch >= training.epochs:
        text = f"must be below epochs, {training.epochs}, got {training.adversarial_start_epoch}. Lower it."
        yield Problem(("adversarial_start_epoch",), text)
    if source is None or not _means(adversarial, "MOVES"):
        return
    adapted = "adapter" if getattr(training, "adapter", None) is not None else None
    freezes = "source" if _means(source, "FREEZES") else adapted or "frozen_layers"
    if freezes != "frozen_layers" or getattr(training, "frozen_layers", None) is not None:
        text = (
            f"{adversarial.name} moves the weights of the token embeddings, but {freezes} freezes them. "
            "Let them learn, set its option moves: vectors, or remove it."
        )
        yield Problem(("adversarial",), text)


def check_encoder_training(encoder: "Encoder", tasks: "dict[str, Task]") -> Iterator[Problem]:
    """Yield the contradictions in how an encoder is trained: by itself, with other tasks, and before that."""
    yield from check_training(encoder, tasks)
    yield from check_adapter(encoder)
    yield from check_sharing(encoder, tasks)
    yield from check_intermediate(encoder, tasks)
    yield from check_pretraining(encoder)


def check_adapter(encoder: "Encoder") -> Iterator[Problem]:
    """Yield why an encoder cannot stay as it is under an adapter, or without one could not learn."""
    source, adapter = encoder.source, encoder.adapter
    if adapter is None:
        if source.constant("LEARNS") and not _means(source, "LEARNS"):
            whole = ", ".join(f"{option}: {value}" for option, value in source.constant("LEARNS").items())
            text = f"weights that learn need {whole}. Set it, or an adapter, which leaves them as they are."
            yield Problem(("source",), text, "E203")
        return
    if not components.has(source.kind, source.name, "folder"):
        others = [name for name in components.available(source.kind) if components.has(source.kind, name, "folder")]
        text = f"leaves the encoder as it was pre-trained, got source {source.name}, which begins at random weights. "
        yield Problem(("adapter",), f"{text}Take source {' or '.join(others)}, or remove it.", "E203")
    contradicted = {
        "frozen_layers": (
            encoder.frozen_layers is not None,
            "all layers are frozen already; its targets say what learns",
        ),
        "mixout": (encoder.mixout > 0, "the weights stay the pre-trained ones"),
        "reinit_layers": (encoder.reinit_layers > 0, "layers that begin anew would never learn"),
        "average_first": (encoder.average_first is not None, "the mean of adapters is not that of what they add"),
        "pretrain": (encoder.pretrain is not None, "it would change the weights that are to stay"),
        "intermediate": (encoder.intermediate is not None, "what learns first would be frozen after it"),
    }
    for key, (is_set, why) in contradicted.items():
        if is_set:
            yield Problem((key,), f"contradicts adapter {adapter.name}: {why}. Remove either.", "E203")


def _means(component: "Component", constant_name: str) -> bool:
    """Return whether a component's options are, or are by default, those that a constant of its file names."""
    wanted = component.constant(constant_name)
    options = {**components.defaults(component.kind, component.name), **component.options}
    return wanted is not None and all(options[name] == value for name, value in wanted.items())


def check_pretraining(encoder: "Encoder") -> Iterator[Problem]:
    """Yield why an encoder cannot be pre-trained further as its section `pretrain` says."""
    pretraining, source = encoder.pretrain, encoder.source
    if pretraining is None:
        return
    known, wanted = (part.constant("LANGUAGE_MODELS") for part in (source, pretraining.pretext))
    if known != (wanted or True):
        others = " or ".join(components.having("encoders", "LANGUAGE_MODELS", wanted or True))
        text = f"{source.name} is no language model" + (f" that can learn {pretraining.pretext.name}" if known else "")
        yield Problem(("pretrain",), f"{text}. Take source {others}, or remove it.")
    if pretraining.max_length is not None:
        for problem in source.call("check", max_length=pretraining.max_length, chat_template=False):
            if problem.location == ("max_length",):
                yield Problem(("pretrain", *problem.location), problem.text, problem.code)
    for problem in check_training(pretraining.training, {}):
        yield Problem(("pretrain", *problem.location), problem.text, problem.code)


def check_sharing(encoder: "Encoder", tasks: "dict[str, Task]") -> Iterator[Problem]:
    """Yield the contradictions between an encoder's way of sharing, its other keys, and the tasks."""
    yield from _check_of_task(encoder, tasks)
    way, weighting = encoder.sharing, encoder.task_weighting
    if not encoder.shares:
        if {"task_weighting", "task_batches"} & encoder.model_fields_set:
            yield Problem(("task_weighting",), "is for one model of several tasks. Set sharing, or remove it.")
        for key in ("average_first", "further"):
            if getattr(encoder, key) is not None:
                yield Problem((key,), "is for one model of several tasks. Set sharing, or remove it.")
        return
    if len(encoder.tasks_of("shared", tasks)) < 2:
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
        for name in weighting.options.get(option, {}):
            if name not in tasks:
                yield Problem(("task_weighting",), f"{option}: {expected(name, list(tasks))}")
    yield from _check_shared_adversarial(encoder)
    yield from _check_steps(encoder, tasks)
    if encoder.objective.constant("READS") == "unlabelled":
        text = f"{encoder.objective.name} is for models of one task. Take another, or set sharing: separate."
        yield Problem(("objective",), text)


def _check_steps(encoder: "Encoder", tasks: "dict[str, Task]") -> Iterator[Problem]:
    """Yield why tasks cannot be trained by themselves before or after the training of all together."""
    source = encoder.source
    same = (
        source.constant("SAME_START") or encoder.pretrain is not None
    )  # all tasks of a fold begin at what was pre-trained
    if encoder.average_first is not None and not same:
        others = " or ".join(components.having("encoders", "SAME_START"))
        text = f"{source.name} has words and first weights of its own for each task, which no average brings together. "
        yield Problem(("average_first",), f"{text}Take source {others}, or remove it.")
    yield from _check_trainings(encoder, tasks, {"alone": "average_first", "further": "further"})


def _check_trainings(encoder: "Encoder", tasks: "dict[str, Task]", keys: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the contradictions in trainings before or after the main one, by the keys that ask for them."""
    known, steps = list(check_training(encoder, tasks)), encoder.training_steps
    for step, key in keys.items():
        for problem in check_training(steps[step], tasks) if step in steps else ():
            if problem not in known:
                yield Problem((key,), f"{'.'.join(map(str, problem.location))}: {problem.text}")


def check_intermediate(encoder: "Encoder", tasks: "dict[str, Task]") -> Iterator[Problem]:
    """Yield why an encoder cannot learn other tasks before its own."""
    if (given := encoder.intermediate) is None:
        return
    for place, name in enumerate(given.tasks):
        text = expected(name, list(tasks)) if name not in tasks else None
        if name in tasks and tasks[name].submit:
            text = (
                f"must be auxiliary, but {name} is submitted: its models are those of the first training, from which "
            )
            text = f"{text}the encoder's own tasks begin. Set tasks.{name}.submit: false, or take it out."
        elif name in given.tasks[:place]:
            text = f"must name each task once, got {name} twice. Remove one."
        if text is not None:
            yield Problem(("intermediate", "tasks", place), text)
    if encoder.average_first is not None:
        yield Problem(("average_first",), "says where a model begins, as intermediate does. Remove one of them.")
    yield from _check_trainings(encoder, tasks, dict.fromkeys(encoder.intermediate_steps, "intermediate"))
    yield from _check_positions(encoder, tasks, given.tasks[0])


def _check_positions(encoder: "Encoder", tasks: "dict[str, Task]", first: str) -> Iterator[Problem]:
    """Yield why an encoder that is built for the texts of its first task has too few positions for those of another."""
    own = {name: part.max_length for name, part in encoder.of_task.items() if "max_length" in part.model_fields_set}
    lengths = {name: own.get(name, encoder.max_length) for name in tasks}
    longest = max(lengths.values())
    is_built = encoder.pretrain is None and not encoder.source.constant("SAME_START")
    if is_built and encoder.window is None and lengths.get(first, longest) < longest:
        text = f"{first} must read as much as the longest task, {longest} tokens, since {encoder.source.name} makes "
        text = f"{text}positions for it alone, got {lengths[first]}. Set of_task.{first}.max_length: {longest}."
        yield Problem(("intermediate", "tasks", 0), text)


def _check_shared_adversarial(encoder: "Encoder") -> Iterator[Problem]:
    """Yield why an adversarial training cannot go with a model of several tasks."""
    adversarial, weighting = encoder.adversarial, encoder.task_weighting
    if adversarial is None:
        return
    if weighting.constant("NEEDS_ALL"):
        text = f"{weighting.name} reads each task's gradient, to which {adversarial.name} adds that of another place. "
        yield Problem(("adversarial",), f"{text}Remove it, or take another task_weighting.")
    if (needs := adversarial.constant("OF_ONE_TASK")) == "model":
        text = f"{adversarial.name} compares what a model of one task gives. Take another, or set sharing: separate."
        yield Problem(("adversarial",), text)
    elif needs and encoder.task_batches.mixed:
        text = (
            f"{adversarial.name} begins at noise over the tokens of one task. Set task_batches: {{mixed: false}}, or "
        )
        yield Problem(("adversarial",), f"{text}take another.")


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
