"""Digests of code: of the definitions that a function reaches inside this project, without docstrings and comments.

From a start such as `pipeline.fold_training:train_fold` every function, class and constant that it names is followed, through
imports of `pipeline` and `stages`. A changed docstring, an unused component or another function of the same file changes
nothing. Imports under `TYPE_CHECKING` are not followed; components loaded by name are further starts.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.reproducibility import digest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "stages")
# What decides where and how safely work runs, never what comes out; params are tracked by value.
NOT_FOLLOWED = {
    f"pipeline.{name}"
    for name in (
        "params",
        "params_augment",
        "params_base",
        "params_stitch",
        "params_yaml",
        "params_checks",
        "exceptions",
        "declared_inputs",
        "redacting",
        "executing",
        "units",
        "store",
        "requested",
        "devices",
        "locking",
        "hanging",
        "preflight",
        "unit_needs",
        "predecessors",
        "checkpointing",
        "progress",
        "stopping",
        "failpoints",
    )
}
Definition = tuple[str, str]


@dataclass(frozen=True)
class Module:
    """The top level of a file: what each name is defined by, and where imported names come from."""

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, Definition]
    always: list[ast.stmt]


def code_digests(starts: Iterable[Definition]) -> dict[str, str]:
    """Return `module:name` -> short digest for everything that the starts reach, themselves included.

    Args:
        starts: pairs of a module and a name defined in it.

    Raises:
        KeyError: if a start does not exist.
    """
    found: dict[str, str] = {}
    waiting = list(starts)
    for module_name, name in waiting:
        module = _module(module_name)
        if name not in module.definitions and name not in module.imports:
            raise KeyError(f"{module_name} defines no {name}")
    while waiting:
        module_name, name = waiting.pop()
        label = f"{module_name}:{name}"
        if label in found or module_name in NOT_FOLLOWED:
            continue
        module = _module(module_name)
        if name in module.imports and name not in module.definitions:
            waiting.append(module.imports[name])
            continue
        nodes = module.definitions.get(name, []) if name else module.always
        found[label] = digest([ast.dump(_without_docstrings(node)) for node in nodes])[:16]
        for node in nodes:
            waiting += _references(node, module, module_name)
        waiting.append((module_name, ""))  # the statements that run on import
    return dict(sorted(found.items()))


@cache
def _module(name: str) -> Module:
    path = _path(name)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    definitions: dict[str, list[ast.stmt]] = {}
    always: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            definitions.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for part in (part for target in targets for part in ast.walk(target)):
                if isinstance(part, ast.Name):
                    definitions.setdefault(part.id, []).append(node)
        elif not isinstance(node, ast.Import | ast.ImportFrom) and not _is_docstring(node) and not _only_types(node):
            always.append(node)
    parts = [part for node in tree.body if not _only_types(node) for part in _outside_definitions(node)]
    return Module(definitions, dict(_imports(parts)), always)


def _outside_definitions(node: ast.stmt) -> Iterator[ast.stmt]:
    """Yield a statement and those inside it that run on import, such as the branches of a `try`."""
    yield node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                yield from _outside_definitions(child)


def _path(module_name: str) -> Path:
    path = ROOT.joinpath(*module_name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(nodes: list[ast.stmt]) -> Iterator[tuple[str, Definition]]:
    """Yield local name -> (module, name) for imports from this project; the name is empty for a module itself."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                target = (inner, "") if _path(inner).exists() else (node.module, alias.name)
                yield alias.asname or alias.name, target
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in PACKAGES:
                    raise ValueError(f"import {alias.name}: write `from ... import ...`, which can be followed.")


def _references(node: ast.stmt, module: Module, module_name: str) -> Iterator[Definition]:
    """Yield the definitions that a statement names: in its own module, imported ones, and attributes of modules."""
    local = dict(_imports([part for part in ast.walk(node) if isinstance(part, ast.stmt)]))
    imports = {**module.imports, **local}
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in imports:
            target_module, target_name = imports[part.value.id]
            if not target_name:
                yield target_module, part.attr
        elif isinstance(part, ast.Name):
            if part.id in module.definitions:
                yield module_name, part.id
            elif part.id in imports:
                yield imports[part.id]


def _without_docstrings(node: ast.stmt) -> ast.stmt:
    """Return a copy of a statement in which no function or class has a docstring."""
    copy = ast.parse(ast.unparse(node)).body[0]
    for part in ast.walk(copy):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            part.body = [inner for inner in part.body if not _is_docstring(inner)] or [ast.Pass()]
    return copy


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _only_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
