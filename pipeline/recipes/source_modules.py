"""The top level of this project's source files: what defines each name, and what imported names mean."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "stages")
Definition = tuple[str, str]


@dataclass(frozen=True)
class Module:
    """The top level of a file: what defines each name, what imported names mean, and the statements that run on import.

    An import means a definition of this project, (module, "") for one of its modules, or a dotted name from elsewhere.
    """

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, Definition | str]
    always: list[ast.stmt]


def module_names() -> list[str]:
    """Return the dotted names of all modules."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


@cache
def read_module(name: str) -> Module:
    """Return the top level of a module; what stands under `TYPE_CHECKING` counts too."""
    tree = ast.parse(path_of(name).read_text(encoding="utf-8"))
    definitions: dict[str, list[ast.stmt]] = {}
    always: list[ast.stmt] = []
    body = [part for node in tree.body for part in (node.body if _only_types(node) else [node])]
    for node in body:
        names = _names_defined_by(node)
        for defined in names:
            definitions.setdefault(defined, []).append(node)
        if not names and not isinstance(node, ast.Import | ast.ImportFrom) and not is_docstring(node):
            always.append(node)
    outside = [part for node in body for part in _outside_definitions(node)]
    return Module(definitions, dict(read_imports(outside)), always)


def _names_defined_by(node: ast.stmt) -> list[str]:
    """Return the names that a statement binds if it does nothing else: a definition or a plain assignment."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    parts = [part for target in targets for part in ast.walk(target) if isinstance(part, ast.expr)]
    plain = all(isinstance(part, ast.Name | ast.Tuple | ast.Starred) for part in parts)
    return [part.id for part in parts if isinstance(part, ast.Name)] if plain else []


def _outside_definitions(node: ast.stmt) -> Iterator[ast.stmt]:
    """Yield a statement and those inside it that run on import, such as the branches of a `try`."""
    yield node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                yield from _outside_definitions(child)
            elif isinstance(child, ast.ExceptHandler):
                yield from (part for inner in child.body for part in _outside_definitions(inner))


def path_of(module_name: str) -> Path:
    """Return where a module or package of this name would lie."""
    path = ROOT.joinpath(*module_name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def read_imports(nodes: list[ast.stmt]) -> Iterator[tuple[str, Definition | str]]:
    """Yield local name -> what an import binds it to.

    Raises:
        ValueError: if the import cannot be followed.
    """
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            inside = (node.module or "").split(".")[0] in PACKAGES
            for alias in node.names:
                if node.level or (inside and alias.name == "*"):
                    text = ast.unparse(node)
                    raise ValueError(f"{text}: write `from ... import ...` with full names, which can be followed.")
                inner = f"{node.module}.{alias.name}"
                here = (inner, "") if path_of(inner).exists() else (str(node.module), alias.name)
                yield alias.asname or alias.name, here if inside else inner
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in PACKAGES:
                    raise ValueError(f"import {alias.name}: write `from ... import ...`, which can be followed.")
                yield alias.asname or alias.name.split(".")[0], alias.name


def is_docstring(node: ast.stmt) -> bool:
    """Return whether a statement is nothing but a text."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _only_types(node: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
