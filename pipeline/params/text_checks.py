"""What is wrong with the templates of texts, and with what encoders know of their fields."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline.errors.exceptions import expected
from pipeline.params.problems import Problem
from pipeline.text.templates import is_template, parse

POSITION = re.compile("0|[1-9][0-9]*")

if TYPE_CHECKING:
    from pipeline.params.encoders import Encoder
    from pipeline.params.tasks import Task


def check_texts(task: "Task") -> Iterator[Problem]:
    """Yield what is wrong with a task's templates, and why its pairs cannot be swapped."""
    faults = list(_check_templates(task))
    yield from faults
    if task.columns.swap and task.columns.text_pair is None:
        text = "needs pairs, got no text_pair. Name the second text's column, or remove swap."
        yield Problem(("columns", "swap"), text)
    if faults:
        return
    fields = task.columns.fields
    for key, of_test in task.columns_of_test.fields.items():
        if len(of_test) != len(fields.get(key, of_test)):
            text = (
                f"must have the fields of columns.{key}, {len(fields[key])}, got {len(of_test)}. Name as many columns."
            )
            yield Problem(("test_columns", key), text)
    if task.columns.swap and len({len(of_text) for of_text in fields.values()}) > 1:
        text = (
            f"needs two texts of as many fields each, got {list(fields.values())}. Correct a template, or remove swap."
        )
        yield Problem(("columns", "swap"), text)


def _check_templates(task: "Task") -> Iterator[Problem]:
    for section, columns in (("columns", task.columns), ("test_columns", task.columns_of_test)):
        for key in ("text", "text_pair"):
            text = getattr(columns, key)
            if not is_template(text) or (section == "test_columns" and text == getattr(task.columns, key)):
                continue
            try:
                names = [field.column for field in parse(text)]
            except ValueError as error:
                yield Problem((section, key), str(error), "E202")
                continue
            if not task.header and (wrong := [name for name in names if not POSITION.fullmatch(name)]):
                text = (
                    f"without a header columns are positions from 0, got {wrong[0]!r}. Give their numbers, as in {{0}}."
                )
                yield Problem((section, key), text)
            if twice := [name for number, name in enumerate(names) if name in names[:number]]:
                yield Problem((section, key), f"must name each column once, got {twice[0]!r} again. Remove one.")


def check_budgets(encoder: "Encoder", tasks: Mapping[str, "Task"]) -> Iterator[Problem]:
    """Yield what is wrong with an encoder's budgets of tokens, given the fields of the tasks' texts."""
    try:
        of_tasks = [[name for of_text in task.columns.fields.values() for name in of_text] for task in tasks.values()]
    except ValueError:  # told where the template stands
        return
    known = list(dict.fromkeys(name for fields in of_tasks for name in fields if name))
    for name in encoder.field_budgets:
        if name not in known:
            yield Problem(("field_budgets", name), expected(name, known))
    for task, fields in zip(tasks, of_tasks, strict=True):
        total = sum(
            share for name, share in encoder.field_budgets.items() if name in fields and isinstance(share, float)
        )
        if total > 1 + 1e-9:
            text = f"shares must together be at most 1, got {total:.4g} for the texts of task {task}. Lower them."
            yield Problem(("field_budgets",), text)
