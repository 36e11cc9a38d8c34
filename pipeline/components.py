"""The folder is the registry: `losses/focal.py` is what `loss: focal` means.

Names and options are read from the source text, so that params are checked without importing torch.
"""

import ast
import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from pipeline import ranges
from pipeline.errors.exceptions import ParamsError, expected, shown

ROOT = Path(__file__).parent
SIMPLE_TYPES: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}
STRICT = ConfigDict(strict=True, allow_inf_nan=False)
SHOULD_BE = "Input should be "


@cache
def kinds() -> tuple[str, ...]:
    """Return the kinds of components, sorted: the folders `pipeline/*/<kind>/` in which every module has a `build`."""
    folders = {path.parent for path in ROOT.glob("*/*/*.py")}
    return tuple(sorted(folder.name for folder in folders if _holds_components(folder)))


def _holds_components(folder: Path) -> bool:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in _modules(folder)]
    return bool(trees) and all(_function(tree, "build") for tree in trees)


@cache
def available(kind: str) -> tuple[str, ...]:
    """Return the sorted names of the components of a kind, such as `available("heads")`."""
    return tuple(path.stem for path in _modules(_folder(kind)))


def having(kind: str, constant_name: str, value: Any = True) -> list[str]:
    """Return the names of the components of a kind in whose files a constant has a value.

    >>> having("heads", "READS", "vector")
    ['linear', 'mlp']
    """
    return [name for name in available(kind) if constant(kind, name, constant_name) == value]


def _modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if path.stem != "__init__")


@cache
def _folder(kind: str) -> Path:
    [folder] = ROOT.glob(f"*/{kind}")
    return folder


def module_of(kind: str, name: str) -> str:
    """Return the dotted name of a component's module.

    >>> module_of("losses", "focal").rpartition(".")[2]
    'focal'
    """
    return ".".join(["pipeline", *(_folder(kind) / name).relative_to(ROOT).parts])


def load(kind: str, name: str, function: str = "build") -> Callable[..., Any]:
    """Import `pipeline/*/<kind>/<name>.py` and return its `build`, or another of its functions.

    Raises:
        ParamsError: if there is no such file.
    """
    if name not in available(kind):
        raise ParamsError(f"{kind}: got {name!r}, expected one of {list(available(kind))}. Correct the name.")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module_of(kind, name)), function)
    return loaded


def build(kind: str, name: str, options: Mapping[str, Any] | None = None, /, **offered: Any) -> Any:
    """Build a component from its options and, of what the code offers to all of its kind, the arguments that it names.

    So a kind's contract can offer one more without a change to any component.

    Raises:
        ParamsError: if there is no such component, or an option is unknown or out of its range.
        TypeError: if it names an argument that is not offered.
    """
    if name in available(kind) and (wrong := list(wrong_options(kind, name, options or {}))):
        raise ParamsError(f"{name}: {' '.join(text for _, text in wrong)}")
    return call(kind, name, "build", options, **offered)


def call(kind: str, name: str, function: str, options: Mapping[str, Any] | None = None, /, **offered: Any) -> Any:
    """Call a function of a component, such as an encoder's `check`, with the arguments that it names."""
    wanted = needed(kind, name, function)
    named = {argument: value for argument, value in offered.items() if argument in wanted}
    return load(kind, name, function)(**named, **(options or {}))


def needed(kind: str, name: str, function: str = "build") -> set[str]:
    """Return the arguments that a component wants from the code: those without a default.

    >>> needed("losses", "focal"), sorted(needed("schedules", "linear"))
    (set(), ['n_steps', 'n_warmup_steps'])
    """
    return {argument.arg for argument, default in _arguments(kind, name, function) if default is None}


@cache
def source(kind: str, name: str) -> ast.Module:
    """Return the syntax tree of a component's file."""
    return ast.parse((_folder(kind) / f"{name}.py").read_text(encoding="utf-8"))


@cache
def options(kind: str, name: str) -> dict[str, Any]:
    """Return the options a component takes from params.yaml: name -> type with its range (`Any` where it is no simple one).

    They are the arguments of its `build` that have a default; the others come from the code.
    """
    return {argument.arg: _simple_type(argument.annotation) for argument, default in _arguments(kind, name) if default}


def defaults(kind: str, name: str) -> dict[str, Any]:
    """Return the literal defaults of the options that a component takes.

    >>> defaults("losses", "focal")
    {'gamma': 2.0}
    """
    return {argument.arg: ast.literal_eval(default) for argument, default in _arguments(kind, name) if default}


def constant(kind: str, name: str, constant_name: str) -> Any:
    """Return the value of a module-level literal of a component, such as a head's `READS`, or None."""
    for node in source(kind, name).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == constant_name:
            return ast.literal_eval(node.value)
    return None


def has(kind: str, name: str, function: str) -> bool:
    """Return whether a component's file has a function.

    >>> has("encoders", "pretrained", "restore"), has("losses", "focal", "restore")
    (True, False)
    """
    return bool(_function(source(kind, name), function))


def fits(kind: str, name: str, form: str | None) -> bool:
    """Return whether a component is for targets of a form: its `FORMS` name it, or it has none.

    >>> fits("losses", "focal", "class"), fits("losses", "focal", "number"), fits("heads", "linear", "number")
    (True, False, True)
    """
    forms = constant(kind, name, "FORMS")
    return forms is None or form in forms


def wrong_options(kind: str, name: str, given: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """Yield what is wrong with the options given to a component, and whether its option is known at all.

    Each must have the type and range of its annotation. So must the default of one that is not given: where it is "" for a
    `ranges.Name`, that one must be given. The constants `DIVIDES` (option -> the option that it must divide), `ONE_OF` and
    `NOT_BOTH` of the component's file say what fits together.

    >>> list(wrong_options("losses", "focal", {"gamma": -1}))
    [(True, 'gamma: must be greater than or equal to 0, got -1. Correct it, or remove it for the default (2.0).')]
    """
    known, values = options(kind, name), {**defaults(kind, name), **given}
    n_wrong = 0
    for key in values:
        if key not in known:
            yield False, f"{name} does not take this option: {expected(key, known)}"
            n_wrong += 1
            continue
        try:
            TypeAdapter(known[key], config=STRICT).validate_python(values[key])
        except ValidationError as error:
            yield True, _wrong(key, error, value=values[key], default=defaults(kind, name)[key], is_given=key in given)
            n_wrong += 1
    if not n_wrong:
        yield from ((True, text) for text in _misfits(kind, name, values))


def _wrong(key: str, error: ValidationError, *, value: Any, default: Any, is_given: bool) -> str:
    if not is_given:
        return f"{key}: is missing. Add it."
    first = error.errors()[0]
    place = ".".join([key, *(str(part) for part in first["loc"] if isinstance(part, int))])
    texts = dict.fromkeys(item["msg"].removeprefix(SHOULD_BE).lower() for item in error.errors())
    must = "must be " if first["msg"].startswith(SHOULD_BE) else ""
    remedy = "" if default == "" else f", or remove it for the default ({default})"
    return f"{place}: {must}{' or '.join(texts)}, got {shown(value)}. Correct it{remedy}."


def _misfits(kind: str, name: str, values: Mapping[str, Any]) -> Iterator[str]:
    for part, whole in (constant(kind, name, "DIVIDES") or {}).items():
        if values[whole] % values[part]:
            yield f"{part}: must divide {whole} ({values[whole]}), got {values[part]}. Change either."
    one_of, not_both = constant(kind, name, "ONE_OF") or (), constant(kind, name, "NOT_BOTH") or ()
    given = {names: [key for key in names if values[key]] for names in (one_of, not_both)}
    if one_of and len(given[one_of]) != 1:
        yield f"exactly one of {' and '.join(one_of)} must be given, got {given[one_of] or 'none'}. Give one."
    if len(given[not_both]) > 1:
        yield f"{' and '.join(not_both)} exclude one another, got both. Remove one."


@cache
def _arguments(kind: str, name: str, function: str = "build") -> list[tuple[ast.arg, ast.expr | None]]:
    """Return the arguments of a component's function, all of them by keyword, each with its default."""
    arguments = _function(source(kind, name), function)[0].args
    return list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))


def _function(tree: ast.Module, name: str) -> list[ast.FunctionDef]:
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]


def _simple_type(annotation: ast.expr | None) -> Any:
    match annotation:
        case ast.Subscript(value=ast.Name("Literal"), slice=ast.Tuple() | ast.Constant() as values):
            return Literal[ast.literal_eval(values)]
        case ast.Subscript(
            value=ast.Name("Annotated"), slice=ast.Tuple([inner, ast.Call(func=ast.Name("Field")) as field])
        ):
            bounds = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in field.keywords}
            return Annotated[_simple_type(inner), Field(**bounds)]
        case ast.Subscript(value=ast.Name("list"), slice=inner):
            return list[_simple_type(inner)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name("dict"), slice=ast.Tuple([key, inner])):
            return dict[_simple_type(key), _simple_type(inner)]  # type: ignore[misc]
        case ast.Name(name):
            return SIMPLE_TYPES.get(name) or getattr(ranges, name, Any)
        case ast.BinOp():
            left, right = _simple_type(annotation.left), _simple_type(annotation.right)
            return Any if Any in (left, right) else left | right
        case ast.Constant(value=None):
            return type(None)
    return Any
