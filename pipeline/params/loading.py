"""params.yaml as typed objects: every error at once, each with its key path, its line and a remedy.

Read as YAML 1.2, as DVC reads it (`1e-5` is a number, `no` is text, a repeated key is an error). Imports no torch.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline import components
from pipeline.errors.exceptions import ParamsError
from pipeline.params.checks import check_names, check_together
from pipeline.params.edits import Edit
from pipeline.params.encoders import Training
from pipeline.params.entries import check_entries, check_files
from pipeline.params.fields import Component
from pipeline.params.problems import Problem, by_location, problem
from pipeline.params.root import Params, Stack
from pipeline.params.yaml_source import dotted, in_a_line, line_of, plain, read_yaml

PARAMS_FILE = Path("params.yaml")


def load_params(path: Path = PARAMS_FILE, edits: Iterable[Edit] = ()) -> Params:
    """Read and check params.yaml, as it is or with some edits.

    Raises:
        ParamsError: with every problem found, one a line: `file:line key.path: problem`.
    """
    raw = read_yaml(path, sections=list(Params.model_fields))
    values = plain(raw)
    for edit in edits:
        edit.apply(values)
    _fit_defaults(values)
    set_keys = _inherit_training(values)
    problems: list[Problem] = []
    params = None
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        for location, items in by_location(error, values).items():
            # What is inherited was reported under training.
            depth = {"encoders": 2, "stitch": 1}.get(str(location[0]), len(location)) if location else 0
            inherited = location[depth:] and location[depth] not in set_keys.get(location[:depth], location[depth:])
            if not inherited or items[0]["type"] == "missing":
                problems.append(problem(items, location, root=Params))
    problems += [*check_names(values), *check_files(values), *check_entries(values)]
    problems += check_together(params) if params else ()
    if params is None or problems:
        lines = [
            f"{path}:{line_of(raw, location)} {dotted(location)}: {in_a_line(text)}" for location, text, _ in problems
        ]
        codes = {code for _, _, code in problems}
        raise ParamsError("\n".join(dict.fromkeys(lines)), code=codes.pop() if len(codes) == 1 else "E200")
    return params


def _fit_defaults(values: dict[str, Any]) -> None:
    """Set the loss and the ladder, where they are not set, to those that fit the targets of all tasks."""
    tasks = values["tasks"].values() if isinstance(values.get("tasks"), dict) else ()
    kinds = [task["kind"] for task in tasks if isinstance(task, dict) and "kind" in task]
    names: list[Any] = [kind.get("name") if isinstance(kind, dict) else kind for kind in kinds]
    if not names or not all(name in components.available("task_kinds") for name in names):
        return
    options: list[Any] = [kind if isinstance(kind, dict) else {} for kind in kinds]
    pairs = [{"name": name, "options": given} for name, given in zip(names, options, strict=True)]
    losses = {Component.model_construct(kind="task_kinds", **pair).by_option("LOSS") for pair in pairs}
    training, stack = values.get("training"), values.get("stack")
    if isinstance(training, dict) and len(losses) == 1 and None not in losses:
        training.setdefault("loss", losses.pop())
    forms = {components.constant("task_kinds", name, "FORM") for name in names}
    if isinstance(stack, dict):
        rungs = Stack.model_fields["ladder"].default
        fitting = [rung for rung in rungs if all(components.fits("stackers", rung, form) for form in forms)]
        stack.setdefault("ladder", fitting)


def _inherit_training(values: dict[str, Any]) -> dict[tuple[Any, ...], set[str]]:
    """Give every encoder and `stitch` the keys of `training` that they do not set; return those that each sets itself."""
    training = values["training"] if isinstance(values.get("training"), dict) else {}
    known = {key: value for key, value in training.items() if key in Training.model_fields}
    encoders = values["encoders"] if isinstance(values.get("encoders"), dict) else {}
    sections: dict[tuple[Any, ...], Any] = {("encoders", name): section for name, section in encoders.items()}
    sections["stitch",] = values.get("stitch")
    sections = {location: section for location, section in sections.items() if isinstance(section, dict)}
    set_keys = {location: set(section) for location, section in sections.items()}
    for section in sections.values():
        section.update({**known, **section})
    return set_keys
