"""The code that a bundle carries: of this project's modules those definitions that predicting reaches, as they are written.

Annotations are not read (PEP 563) and not followed, so what only types, training or checking needs stays at home with the
libraries that it imports. A component is reached by its name: whoever asks for the closure names those that are used.
"""

import ast
import sys
from collections.abc import Iterable, Iterator

from pipeline import components
from pipeline.recipes.source_modules import Definition, path_of, read_imports, read_module

# What was checked before the bundle was written needs no check where it predicts, and no library for checking.
STAND_INS: dict[Definition, str] = {
    ("pipeline.components", "wrong_options"): "def wrong_options(kind, name, given):\n    return ()",
    ("pipeline.data.reading", "AS_WRITTEN"): "AS_WRITTEN = None",
}
FIRST_LINE = "from __future__ import annotations"


def component_starts(kind: str, name: str, function: str = "build") -> list[Definition]:
    """Return what is reached of a component: a function of its file, and the constants by which others know it."""
    module = components.module_of(kind, name)
    constants = [name for name, nodes in read_module(module).definitions.items() if all(map(_is_literal, nodes))]
    return [(module, function), *((module, constant) for constant in constants)]


def carried_code(starts: Iterable[Definition]) -> tuple[dict[str, str], set[str]]:
    """Return by its path the text of each file that the starts need, and the packages from elsewhere that these import."""
    reached: dict[str, set[str]] = {}
    waiting = list(starts)
    while waiting:
        module_name, name = waiting.pop()
        if name in reached.setdefault(module_name, set()):
            continue
        if not reached[module_name]:
            waiting += [link for node in read_module(module_name).always for link in _links(module_name, node)]
        reached[module_name].add(name)
        if (module_name, name) not in STAND_INS:
            waiting += _meaning(module_name, name)
    files, packages = {}, set[str]()
    for module_name, names in reached.items():
        text = _carried_text(module_name, names)
        files[f"{module_name.replace('.', '/')}.py"] = text
        for node in ast.walk(ast.parse(text)):
            imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            packages |= {name.partition(".")[0] for name in imported}
    folders = {path.rpartition("/")[0] for path in files}
    folders |= {folder.partition("/")[0] for folder in folders}
    files |= {f"{folder}/__init__.py": "" for folder in folders}
    return files, packages - {"pipeline", "__future__"} - set(sys.stdlib_module_names)


def _meaning(module_name: str, name: str) -> list[Definition]:
    """Return what a definition needs, or what an imported name is."""
    module = read_module(module_name)
    if name in module.definitions:
        return [link for node in module.definitions[name] for link in _links(module_name, node)]
    imported = module.imports[name]
    return [imported] if isinstance(imported, tuple) and imported[1] else []


def _is_literal(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign):
        return False
    try:
        ast.literal_eval(node.value)
    except ValueError:
        return False
    return True


def _names(node: ast.AST, bound: frozenset[str] = frozenset()) -> Iterator[ast.Name | ast.Attribute]:
    """Yield the names that a statement looks up outside of itself, with an attribute if it has one; none of annotations."""
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        inside = [part for part in ast.walk(node) if isinstance(part, ast.arg | ast.Name)]
        bound |= {
            p.arg if isinstance(p, ast.arg) else p.id
            for p in inside
            if not isinstance(getattr(p, "ctx", None), ast.Load)
        }
    for field, value in ast.iter_fields(node):
        for child in (value if isinstance(value, list) else [value]) if field not in ("annotation", "returns") else ():
            if isinstance(child, ast.Name) or (isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name)):
                yield from [child] if _first(child) not in bound else []
            elif isinstance(child, ast.AST):
                yield from _names(child, bound)


def _links(module_name: str, node: ast.stmt) -> Iterator[Definition]:
    """Yield the definitions of this project that a statement needs."""
    module = read_module(module_name)
    inner = dict(read_imports([part for part in ast.walk(node) if isinstance(part, ast.stmt)]))
    for used in _names(node):
        name = _first(used)
        meaning = inner.get(name) or ((module_name, name) if name in module.definitions else module.imports.get(name))
        if isinstance(meaning, tuple) and meaning[1]:
            yield meaning
        elif isinstance(meaning, tuple) and isinstance(used, ast.Attribute):
            yield meaning[0], used.attr


def _carried_text(module_name: str, names: set[str]) -> str:
    """Return a module's text with only the named definitions, what they import, and what runs on import."""
    module, lines = read_module(module_name), path_of(module_name).read_text(encoding="utf-8").splitlines()
    tree = ast.parse("\n".join(lines))
    stand_ins = {name: STAND_INS[module_name, name] for name in names if (module_name, name) in STAND_INS}
    defined = (names - set(stand_ins)) & set(module.definitions)
    kept = {node.lineno: node for name in defined for node in module.definitions[name]}
    kept |= {node.lineno: node for node in module.always}
    used = names | {_first(name) for node in kept.values() for name in _names(node)}
    docstring = [_segment(tree.body[0], lines)] if ast.get_docstring(tree) else []
    parts = [*docstring, FIRST_LINE, *_imports(tree, used), *stand_ins.values()]
    return "\n\n".join([*parts, *(_segment(kept[line], lines) for line in sorted(kept))]) + "\n"


def _first(used: ast.Name | ast.Attribute) -> str:
    return used.id if isinstance(used, ast.Name) else ast.unparse(used.value)


def _imports(tree: ast.Module, used: set[str]) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [a for a in node.names if (a.asname or a.name.partition(".")[0]) in used]
            if node.names:
                yield ast.unparse(node)


def _segment(node: ast.stmt, lines: list[str]) -> str:
    first = min([node.lineno, *(part.lineno for part in getattr(node, "decorator_list", []))]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])
