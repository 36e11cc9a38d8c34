"""What only several keys of params.yaml together, or the file system, can show to be wrong."""

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline import components
from pipeline.errors.exceptions import ParamsError, expected
from pipeline.model_sources import locate, misplaced
from pipeline.params.encoders import Encoder, OfTask
from pipeline.params.problems import Problem
from pipeline.params.stitch_checks import check_stitch
from pipeline.params.text_checks import check_budgets, check_texts
from pipeline.params.training_checks import check_encoder_training, check_training

if TYPE_CHECKING:
    from pipeline.params.augment import Augment
    from pipeline.params.fields import Component
    from pipeline.params.root import Params
    from pipeline.params.tasks import FileForm, Task

NAME = re.compile(r"[a-z0-9_-]+")
READ_LOGITS = ("losses", "objectives", "adversarial")
RESERVED = {"ensemble", "scores", "submission"}


def _within(section: tuple[Any, ...], problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield problems whose locations are relative to a section."""
    yield from (Problem((*section, *location), text, code) for location, text, code in problems)


def check_names(values: dict[str, Any]) -> Iterator[Problem]:
    """Yield the names that DVC could not address, or no folder could bear; `values` need not be right otherwise."""
    stitch = values.get("stitch")
    mappings: dict[tuple[str, ...], Any] = {(name,): values.get(name) for name in ("tasks", "encoders", "baselines")}
    mappings["stitch", "heads"] = stitch.get("heads") if isinstance(stitch, dict) else None
    tasks = mappings["tasks",] if isinstance(mappings["tasks",], dict) else {}
    mappings |= {("tasks", name, "test"): task.get("test") for name, task in tasks.items() if isinstance(task, dict)}
    for location, names in mappings.items():
        for name in names if isinstance(names, dict) else ():
            if not (isinstance(name, str) and NAME.fullmatch(name)):
                text = f"names must be text that matches {NAME.pattern}, or DVC cannot address them, got {name!r}. Rename it."
                yield Problem((*location, name), text, "E202")


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
    if params.run.budget_hours is not None and not params.baselines:
        text = "needs a baseline, or a run that ends early has no submission. Add one to baselines, or set it to null."
        yield Problem(("run", "budget_hours"), text)
    if not params.members:
        yield Problem(("encoders",), "there is no model. Add an encoder or a baseline.")
    if params.submit.model not in ("ensemble", *params.members):
        yield Problem(("submit", "model"), expected(params.submit.model, ["ensemble", *params.members]))
    for section, names in (("encoders", params.encoders), ("baselines", params.baselines), ("tasks", params.tasks)):
        for name in sorted(RESERVED & set(names)):
            yield Problem((section, name), "this name is taken by a file of the pipeline. Rename it.")
    for name, task in params.tasks.items():
        yield from _within(("tasks", name), _check_task(task))
        yield from _check_forms(params, name, task)
    yield from _check_submitted(params.submitted)
    yield from _within(("stitch",), check_stitch(params.stitch, params.encoders))
    yield from _within(("stitch",), check_training(params.stitch, params.tasks))
    yield from _within(("augment",), check_augment(params.augment, params.tasks))
    for name, baseline in params.baselines.items():
        yield from (Problem(("baselines", name), text, "E204") for text in check_sources(baseline))
    for name, encoder in params.encoders.items():
        yield from _within(("encoders", name), _check_encoder(encoder, params.run.device))
        yield from _within(("encoders", name), check_encoder_training(encoder, params.tasks))
        yield from _within(("encoders", name), check_budgets(encoder, params.tasks))
        for part in ("masking", "pretext") if encoder.pretrain is not None else ():
            found = check_sources(getattr(encoder.pretrain, part))
            yield from (Problem(("encoders", name, "pretrain", part), text, "E204") for text in found)
        if components.constant("objectives", encoder.objective.name, "READS") == "unlabelled":
            yield from (Problem(("encoders", name, "objective"), text) for text in check_unlabelled(params))


def _check_submitted(tasks: "dict[str, Task]") -> Iterator[Problem]:
    """Yield tasks that have other test files than the first: each submission holds all tasks but the auxiliary ones."""
    if not tasks:
        yield Problem(("tasks",), "must have a task that is submitted, got auxiliary ones alone. Set submit: true.")
        return
    first, wanted = next((name, set(task.tests)) for name, task in tasks.items())
    for name, task in tasks.items():
        if set(task.tests) != wanted:
            both = (sorted(names) if names != {""} else "a single file" for names in (wanted, set(task.tests)))
            text = "must name the test files of task {}, {}, got {}. Name them alike.".format(first, *both)
            yield Problem(("tasks", name, "test"), text)


def _check_task(task: "Task") -> Iterator[Problem]:
    n_labels = task.kind.constant("N_LABELS")
    if n_labels is not None and task.labels is not None and len(task.labels) != n_labels:
        text = f"a {task.kind.name} task has {n_labels} labels, got {len(task.labels)}. Set another kind."
        yield Problem(("labels",), text)
    yield from _check_task_metrics(task)
    if len(set(task.labels or ())) < len(task.labels or ()):
        yield Problem(("labels",), f"each label must stand once, got {task.labels}. Remove the copies.")
    columns = task.columns
    read = [*(columns.text if isinstance(columns.text, list) else [columns.text]), columns.text_pair]
    texts = list(check_texts(task))
    read += [] if texts else [name for fields in columns.fields.values() for name in fields]
    given = columns.label if isinstance(columns.label, list) else [columns.label]
    if double := [column for column in given if str(column) in map(str, read)]:
        text = f"a text must not be the label, got {double[0]!r} for both. Correct one."
        yield Problem(("columns", "label"), text)
    if len(given) != 1 and not task.kind.constant("SEVERAL_COLUMNS"):
        kinds = " or ".join(components.having("task_kinds", "SEVERAL_COLUMNS")) or "another one"
        text = f"a {task.kind.name} task has one label column, got {given}. Name one, or set kind: {kinds}."
        yield Problem(("columns", "label"), text)
    yield from texts
    yield from _check_test_columns(task)
    yield from _check_file_form(task)
    yield from _within(("submission", "sample_form"), _check_file_form(task.submission.sample_form))


def _check_task_metrics(task: "Task") -> Iterator[Problem]:
    """Yield the metrics that are not for such labels, and one that is named with different options."""
    n_labels = task.kind.constant("N_LABELS")
    metrics: dict[str, Any] = {}
    reported = [(("report_metrics", place), metric) for place, metric in enumerate(task.report_metrics)]
    for location, metric in [(("metric",), task.metric), *reported]:
        if (n_of_metric := metric.by_option("N_LABELS")) not in (None, n_labels):
            kinds = " or ".join(components.having("task_kinds", "N_LABELS", n_of_metric))
            text = f"{metric.name} is for {n_of_metric} labels. Take another metric, or set kind: {kinds}."
            yield Problem(location, text)
        if metric.constant("ORDERED") and not task.kind.constant("ORDER"):
            kinds = " or ".join(name for name in components.available("task_kinds") if _has_order(name))
            text = f"{metric.name} is for labels that have an order. Set kind: {kinds}, or take another metric."
            yield Problem(location, text)
        if metrics.setdefault(metric.name, metric) != metric:
            text = f"{metric.name} stands here with other options already, and scores go by name. Keep one of them."
            yield Problem(location, text)


def _has_order(kind: str) -> bool:
    return components.constant("task_kinds", kind, "ORDER") is not None


def _check_file_form(form: "FileForm") -> Iterator[Problem]:
    try:
        b"a".decode(form.encoding)
    except UnicodeDecodeError:
        pass  # half a character of UTF-16
    except (LookupError, ValueError):
        text = f"must be a name of Python's codecs, such as gb18030, got {form.encoding!r}. Correct it."
        yield Problem(("encoding",), text, "E202")
    if form.escape is not None and form.escape == form.separator:
        yield Problem(("escape",), f"must be another character than the separator, got {form.escape!r}. Correct one.")


def _check_test_columns(task: "Task") -> Iterator[Problem]:
    """Yield what the columns of the two files say against each other."""
    files = {"columns": (task.columns, task.columns), "test_columns": (task.test_columns, task.columns_of_test)}
    for name, (given, columns) in files.items():
        if columns.id is not None and "first_id" in given.model_fields_set:
            text = f"numbers rows that have no ids, but id is {columns.id!r}. Remove it, or set id: null."
            yield Problem((name, "first_id"), text)
    if (task.columns.text_pair is None) != (task.columns_of_test.text_pair is None):
        text = "pairs must stand in the training and in the test file, or in neither. Set columns.text_pair too."
        yield Problem(("test_columns", "text_pair"), text)


def _check_forms(params: "Params", name: str, task: "Task") -> Iterator[Problem]:
    """Yield the components that do not fit the form of a task's targets; one that names no `FORMS` fits all."""
    used: dict[tuple[Any, ...], Any] = {("tasks", name, "metric"): task.metric}
    used["tasks", name, "submission", "format"] = task.submission.format if task.submit else None
    if params.stitch.models(list(params.encoders)):
        keys = ("loss", "class_weights", "objective", "adversarial")
        used |= {("stitch", key): getattr(params.stitch, key) for key in keys}
    used |= {("tasks", name, "report_metrics", place): metric for place, metric in enumerate(task.report_metrics)}
    for encoder, settings in params.encoders.items():
        own = settings.of_task.get(name)
        for key in ("loss", "objective", "class_weights", "adversarial"):
            is_own = own is not None and key in own.model_fields_set
            location = ("encoders", encoder, "of_task", name, key) if is_own else ("encoders", encoder, key)
            used[location] = getattr(own if is_own else settings, key)
    used |= {("baselines", baseline): component for baseline, component in params.baselines.items()}
    used |= {("stack", "ladder", place): rung for place, rung in enumerate(params.stack.ladder)}
    of_targets = task.kind.constant("FORM")
    of_outputs = task.kind.by_option("LOGITS") or of_targets
    if params.augment.quality.flip_confidence is not None and task.kind.constant("BINS"):
        text = f"targets that are a {of_targets}, as those of task {name}, do not flip."
        text = f"{text} Remove it, or correct tasks.{name}.kind."
        yield Problem(("augment", "quality", "flip_confidence"), text)
    elif params.augment.quality.flip_confidence is not None:
        used["augment", "quality", "flip_model"] = params.augment.quality.flip_model
    parts = ((location, part) for location, whole in used.items() if whole is not None for part in whole.parts())
    for location, component in parts:
        forms, form = component.constant("FORMS"), of_outputs if component.kind in READ_LOGITS else of_targets
        if not components.fits(component.kind, component.name, form):
            text = (
                f"{component.name} is for targets that are a {' or '.join(forms)}, those of task {name} are a {form}. "
            )
            fitting = [
                other for other in components.available(component.kind)
                if components.fits(component.kind, other, form) and not _needs_others(component.kind, other)
            ]  # fmt: skip
            remedy = f"Take {' or '.join(fitting)}" if fitting else "Take another one"
            if len(params.tasks) > 1 and location[0] == "encoders" and location[-1] in OfTask.model_fields:
                remedy = f"{remedy} for it, in encoders.{location[1]}.of_task.{name}"
            yield Problem(location, f"{text}{remedy}, or correct tasks.{name}.kind.")


def _needs_others(kind: str, name: str) -> bool:
    return any(components.constant(kind, name, constant) for constant in ("PENALTY", "COMPONENTS"))


def _check_encoder(encoder: "Encoder", device: str) -> Iterator[Problem]:
    if encoder.precision in ("bf16", "fp16") and device == "cpu":
        yield Problem(("precision",), f"{encoder.precision} needs a GPU, but run.device is cpu. Use auto or fp32.")
    yield from encoder.source.call("check", max_length=encoder.longest_input, chat_template=encoder.chat_template)
    if encoder.chat_template and not encoder.source.constant("CHATS"):
        sources = " or ".join(components.having("encoders", "CHATS"))
        text = f"needs a tokenizer that comes with one, got source {encoder.source.name}. Take {sources}, or remove it."
        yield Problem(("chat_template",), text)
    if encoder.window is not None and encoder.window >= encoder.max_length:
        text = (
            f"must be below max_length, {encoder.max_length}, which is what all windows read of a text, got "
            f"{encoder.window}. Raise max_length, or remove it."
        )
        yield Problem(("window",), text)


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
            text = "by: gradient needs a model, by: tfidf takes none. Correct one of them."
            yield Problem((*location, "guide"), text)
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
    for name, task in params.tasks.items():
        if not (task.unlabelled or task.missing_labels == "unlabelled" or params.augment.transductive):
            yield f"learns from texts without labels. Give tasks.{name}.unlabelled, or set augment.transductive."
            break
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
