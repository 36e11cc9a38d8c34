"""What pydantic finds wrong with params.yaml, in the words of this project."""

import re
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from pipeline.errors.exceptions import expected, shown

SHOULD_BE = "Input should be "
MAPPING = re.compile(r"a valid dictionary( or instance of \w+)?")  # pydantic's words for a section


class Problem(NamedTuple):
    """What is wrong with the key at a location, and the code of its kind."""

    location: tuple[Any, ...]
    text: str
    code: str = "E203"


def by_location(error: ValidationError, values: Any) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Return pydantic's errors by where they stand in the file; several for a value that none of several types fits."""
    errors: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False):
        location, node = [], values
        for part in item["loc"]:
            inside = part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))
            if inside:
                node = node[part]
            if inside or (item["type"] == "missing" and part is item["loc"][-1]):  # others name a type that was tried
                location.append(part)
        errors.setdefault(tuple(location), []).append(dict(item))
    # Of several types tried, the one that fits furthest into the value is meant.
    deeper = {location[:depth] for location in errors for depth in range(len(location))}
    return {location: items for location, items in errors.items() if len(items) == 1 or location not in deeper}


def problem(items: list[dict[str, Any]], location: tuple[Any, ...], *, root: type[BaseModel]) -> Problem:
    """Return what pydantic found at a location of a file whose top level is `root`."""
    item = items[0]
    if item["type"] == "extra_forbidden":
        known = getattr(_model_at(root, location[:-1]), "model_fields", {})
        return Problem(location, f"is not a known key: {expected(location[-1], known)}", "E201")
    if item["type"] == "missing":
        remedy = ", if only as `{}`: DVC tracks every section but `run`" if len(location) == 1 else ""
        return Problem(location, f"is missing. Add it{remedy}.", "E202")
    if item["type"] == "contradiction":
        return Problem(location, f"{item['msg']}.", "E203")
    if item["type"] in ("component", "option"):
        return Problem(location, item["msg"], "E202" if item["type"] == "component" else "E201")
    texts = (MAPPING.sub("a mapping", error["msg"]).removeprefix(SHOULD_BE) for error in items)
    text = " or ".join(dict.fromkeys(texts))
    text = f"must be {text}" if item["msg"].startswith(SHOULD_BE) else text[:1].lower() + text[1:]
    got = "" if isinstance(item["input"], dict) else f", got {shown(item['input'])}"
    return Problem(location, f"{text}{got}. {_remedy(item, location, root)}", "E202")


def _remedy(item: dict[str, Any], location: tuple[Any, ...], root: type[BaseModel]) -> str:
    """Return how to mend a value of the wrong type or range."""
    if item["type"] == "string_type" and isinstance(item["input"], int | float):
        return "Put it in quotes: without them YAML reads a number or a truth value."
    model = _model_at(root, location[:-1])
    field = model.model_fields.get(str(location[-1])) if model is not None and location else None
    if field is None or field.is_required() or isinstance(field.default, BaseModel):
        return "Correct it."
    return f"Correct it, or remove it for the default ({field.default})."


def _model_at(root: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel] | None:
    """Return the section at a location, found by walking the models down the location."""
    current: Any = root
    for part in location:
        if _is_model(current) and part in current.model_fields:
            current = current.model_fields[part].annotation
        elif get_args(current):
            current = get_args(current)[-1]
        if get_origin(current) in (Union, UnionType):
            current = next(filter(_is_model, get_args(current)), current)
    return current if _is_model(current) else None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
