"""The folder is the registry: `losses/focal.py` is what `loss: focal` means.

Names and options are read from the source text, so that params are checked without importing torch.
"""

import ast
import importlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.errors.exceptions import ParamsError

ROOT = Path(__file__).parent
NUMBER = int | float
SIMPLE_TYPES: dict[str, Any] = {
    "int": int,
    "float": NUMBER,
    "str": str,
    "bool": bool,
    "list": list,
    "dict": dict,
}


@cache
def available(kind: str) -> tuple[str, ...]:
    """Return the sorted names of the components of a kind, such as `available("heads")`."""
    return tuple(sorted(path.stem for path in _folder(kind).glob("*.py") if path.stem != "__init__"))


@cache
def _folder(kind: str) -> Path:
    [folder] = ROOT.glob(f"**/{kind}")
    return folder


def module_of(kind: str, name: str) -> str:
    """Return the dotted name of a component's module.

    >>> module_of("losses", "focal").rpartition(".")[2]
    'focal'
    """
    return ".".join(["pipeline", *(_folder(kind) / name).relative_to(ROOT).parts])


def load(kind: str, name: str, function: str = "build") -> Callable[..., Any]:
    """Import `pipeline/<kind>/<name>.py` and return its `build`, or another of its functions.

    Raises:
        ParamsError: if there is no such file.
    """
    if name not in available(kind):
        raise ParamsError(f"{kind}: got {name!r}, expected one of {list(available(kind))}. Correct the name.")
    found: Callable[..., Any] = getattr(importlib.import_module(module_of(kind, name)), function)
    return found


@cache
def source(kind: str, name: str) -> ast.Module:
    """Return the syntax tree of a component's file."""
    return ast.parse((_folder(kind) / f"{name}.py").read_text(encoding="utf-8"))


@cache
def options(kind: str, name: str) -> dict[str, Any]:
    """Return the options a component takes from params.yaml: name -> type (`Any` where it is not a simple one).

    They are the keyword-only arguments of its `build` that have a default; the others are given by the code.
    """
    build = next(node for node in source(kind, name).body if isinstance(node, ast.FunctionDef) and node.name == "build")
    pairs = zip(build.args.kwonlyargs, build.args.kw_defaults, strict=True)
    return {argument.arg: _simple_type(argument.annotation) for argument, default in pairs if default is not None}


def defaults(kind: str, name: str) -> dict[str, Any]:
    """Return the literal defaults of the options that a component takes.

    >>> defaults("losses", "focal")
    {'gamma': 2.0}
    """
    build = next(node for node in source(kind, name).body if isinstance(node, ast.FunctionDef) and node.name == "build")
    pairs = zip(build.args.kwonlyargs, build.args.kw_defaults, strict=True)
    return {argument.arg: ast.literal_eval(default) for argument, default in pairs if default is not None}


def constant(kind: str, name: str, constant_name: str) -> Any:
    """Return the value of a module-level literal of a component, such as a head's `READS`, or None."""
    for node in source(kind, name).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == constant_name:
            return ast.literal_eval(node.value)
    return None


def _simple_type(annotation: ast.expr | None) -> Any:
    if isinstance(annotation, ast.Name):
        return SIMPLE_TYPES.get(annotation.id, Any)
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        if annotation.value.id == "Literal" and isinstance(annotation.slice, ast.Tuple | ast.Constant):
            values = ast.literal_eval(annotation.slice)
            from typing import Literal

            return Literal[values]
        return SIMPLE_TYPES.get(annotation.value.id, Any)
    if isinstance(annotation, ast.BinOp):
        left, right = _simple_type(annotation.left), _simple_type(annotation.right)
        return Any if Any in (left, right) else left | right
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return type(None)
    return Any
