"""Digests of code: of the definitions that a function reaches inside this project, without docstrings and comments.

From a start such as `train_fold` every function, class and constant that it names is followed, through imports of `pipeline`
and `stages`, in annotations (quoted or not) and imports for types too. A definition is known by its name, its body and what
the names in it mean, never by the file it lies in: what moves keeps its digest. Where the walk cannot know what is used it
takes more: of a module used as a value all of it, of an argument without a type every class that has the method.
Components loaded by name are further starts.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any

from pipeline.recipes.source_modules import Definition, is_docstring, module_names, path_of, read_imports, read_module
from pipeline.reproducibility import digest

# Packages that decide where and how safely work runs, never what comes out.
NOT_FOLLOWED = ("pipeline.errors", "pipeline.units", "pipeline.recipes", "pipeline.checks")
# Values of params stand in the keys by themselves; followed are the methods that compute something from them.
PARAMS = "pipeline.params"
LINKS = "(links)"


@dataclass(frozen=True)
class Body:
    """A definition: the digest of its own text, and what the names in it mean, in the order in which they stand there."""

    digest: str
    links: tuple[Definition | str, ...]


def code_digests(starts: Iterable[Definition]) -> dict[str, str]:
    """Return name -> short digest for everything that the starts reach, themselves included.

    Definitions that share a name share the entry. `(links)` stands for which definition each name in each of them means.

    Args:
        starts: pairs of a module and a name defined in it.

    Raises:
        KeyError: if a start does not exist.
    """
    waiting: list[Definition] = []
    for module_name, name in starts:
        if name not in read_module(module_name).definitions | read_module(module_name).imports:
            raise KeyError(f"{module_name} defines no {name}")
        waiting += [meaning for meaning in _resolve(module_name, name) if isinstance(meaning, tuple)]
    reached: dict[Definition, Body] = {}
    while waiting:
        definition = waiting.pop()
        if definition not in reached:
            reached[definition] = body = _body(*definition)
            waiting += [link for link in body.links if isinstance(link, tuple)]
            waiting += [(definition[0], "")] if read_module(definition[0]).always else []
    named: dict[str, set[str]] = {}
    for (_, name), body in reached.items():
        named.setdefault(name, set()).add(body.digest)
    return {**{name: "+".join(sorted(named[name])) for name in sorted(named)}, LINKS: _link_digest(reached)}


def _link_digest(reached: dict[Definition, Body]) -> str:
    """Return the digest of how definitions refer to one another.

    Each round digests a definition anew with the digests of what it names, until no further ones can be told apart: then
    two that are equal reach equal code (colour refinement; circles of definitions do no harm).
    """
    digests = {definition: body.digest for definition, body in reached.items()}
    while True:
        finer = {}
        for definition, body in reached.items():
            meanings = [digests.get(link, link) if isinstance(link, tuple) else link for link in body.links]
            finer[definition] = digest([digests[definition], meanings])
        if len(set(finer.values())) == len(set(digests.values())):
            return digest(sorted(finer.values()))[:16]
        digests = finer


def _resolve(module_name: str, name: str) -> list[Definition | str]:
    """Return what a name at the top level of a module means, "" the module itself; what is not followed means itself."""
    module = read_module(module_name)
    if name in module.definitions:
        return [(module_name, name)]
    if name in module.imports:
        return _meaning(module.imports[name], within=module_name)
    # A statement binds it, or nothing that can be seen: then it may be made of anything in the module.
    return [(module_name, other) for other in ("", *module.definitions)]


def _meaning(target: Definition | str, *, within: str) -> list[Definition | str]:
    """Return what an import means in a module: within the params their own functions, elsewhere only their methods."""
    if isinstance(target, str):
        return [target]
    module_name, name = target
    if not _is_followed(module_name) or (_is_params(module_name) and not _is_params(within)):
        return [name or module_name.rpartition(".")[2]]
    nodes = read_module(module_name).definitions.get(name, []) if _is_params(module_name) else []
    return [name] if any(isinstance(node, ast.ClassDef) for node in nodes) else _resolve(module_name, name)


def _is_followed(module_name: str) -> bool:
    return not any(f"{module_name}.".startswith(f"{package}.") for package in NOT_FOLLOWED)


def _is_params(module_name: str) -> bool:
    return module_name.startswith(PARAMS)


@cache
def _body(module_name: str, name: str) -> Body:
    module = read_module(module_name)
    owner, _, method = name.partition(".")
    nodes = module.definitions[owner] if name else module.always
    if method:
        parts = [part for node in nodes for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt)]
        nodes = [part for part in parts if getattr(part, "name", None) == method]
    reader = _Reader(module_name)
    texts = [ast.dump(reader.visit(_copy(node))) for node in nodes]
    return Body(digest([name, texts])[:16], tuple(reader.links))


def _copy(part: Any) -> Any:
    """Return a copy of a part of a syntax tree without its positions: in a quarter of the time that `deepcopy` takes."""
    if isinstance(part, ast.AST):
        return type(part)(**{name: _copy(value) for name, value in ast.iter_fields(part)})
    return [_copy(item) for item in part] if isinstance(part, list) else part


class _Reader(ast.NodeTransformer):
    """Takes docstrings and imports out of a definition, names what it refers to as that is named, and notes what it means."""

    def __init__(self, module_name: str) -> None:
        self.module_name = module_name
        self.module = read_module(module_name)
        self.local: dict[str, Definition | str] = {}
        self.untyped: set[str] = set()
        self.links: list[Definition | str] = []

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.local |= dict(read_imports([part for part in ast.walk(node) if isinstance(part, ast.stmt)]))
            self.untyped |= set(_untyped(node))
            node.body = [statement for statement in node.body if not is_docstring(statement)] or [ast.Pass()]
        for name in ("annotation", "returns"):
            if isinstance(getattr(node, name, None), ast.expr):
                setattr(node, name, _Unquoted().visit(getattr(node, name)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast":
            node.args[0] = _Unquoted().visit(node.args[0])
        seen: ast.AST = super().visit(node)
        return seen

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> ast.AST:
        return ast.Pass()

    visit_ImportFrom = visit_Import

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if not isinstance(node.ctx, ast.Load):  # a field, or a variable of the function
            return node
        if node.id in self.local:
            return self._linked(_meaning(self.local[node.id], within=self.module_name), node.id, node.ctx)
        if node.id in self.module.definitions or node.id in self.module.imports:
            return self._linked(_resolve(self.module_name, node.id), node.id, node.ctx)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        module_name = self._module_of(node.value)
        if module_name is not None:
            return self._linked(_meaning((module_name, node.attr), within=self.module_name), node.attr, node.ctx)
        # Whose method it is cannot be read off the text. By name, not by module: what moves must keep its digest.
        self.links += sorted(_params_methods().get(node.attr, ()), key=itemgetter(1))
        classes = _classes_with().get(node.attr, ())
        if classes and ast.unparse(node.value) in self.untyped:
            self.links += sorted(classes, key=itemgetter(1))
        return self.generic_visit(node)

    def _linked(self, meanings: list[Definition | str], name: str, ctx: ast.expr_context) -> ast.Name:
        """Note what a name means, and name it as its only meaning is named there; a name from elsewhere stays."""
        self.links += meanings
        return ast.Name(meanings[0][1] if len(meanings) == 1 and isinstance(meanings[0], tuple) else name, ctx)

    def _module_of(self, node: ast.expr) -> str | None:
        """Return the module of this project that an expression such as `artifacts` or `artifacts.files` names."""
        if isinstance(node, ast.Name):
            target = self.local.get(node.id) or self.module.imports.get(node.id)
            return target[0] if isinstance(target, tuple) and not target[1] else None
        if isinstance(node, ast.Attribute) and (outer := self._module_of(node.value)):
            return inner if path_of(inner := f"{outer}.{node.attr}").exists() else None
        return None


class _Unquoted(ast.NodeTransformer):
    """Turns the quoted parts of an annotation into what they say."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, str):
            return node
        try:
            return ast.parse(node.value, mode="eval").body
        except SyntaxError:  # a value of a Literal
            return node


def _untyped(node: ast.AST) -> Iterator[str]:
    """Yield what stands in a definition without a type: arguments of functions, `self.<field>` of classes."""
    if isinstance(node, ast.ClassDef):
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        yield from (f"self.{ast.unparse(part.target)}" for part in fields if _is_any(part.annotation))
    else:
        arguments = [part for part in ast.walk(node) if isinstance(part, ast.arg)]
        yield from (part.arg for part in arguments if part.arg not in ("self", "cls") and _is_any(part.annotation))


def _is_any(annotation: ast.expr | None) -> bool:
    return annotation is None or ast.unparse(annotation).strip("'\"") == "Any"


@cache
def _params_methods() -> dict[str, list[Definition]]:
    """Return the methods of the params' sections by name; what only checks values changes none."""
    methods: dict[str, list[Definition]] = {}
    for module_name, owner, method in _methods():
        checks = any("validator" in ast.unparse(decorator) for decorator in method.decorator_list)
        if _is_params(module_name) and not checks:
            methods.setdefault(method.name, []).append((module_name, f"{owner}.{method.name}"))
    return methods


@cache
def _classes_with() -> dict[str, list[Definition]]:
    """Return by a method's name the classes that have it; of components only those that are starts can be meant."""
    classes: dict[str, list[Definition]] = {}
    for module_name, owner, method in _methods():
        excluded = _is_params(module_name) or "build" in read_module(module_name).definitions
        if _is_followed(module_name) and not excluded and not method.name.startswith("__"):
            classes.setdefault(method.name, []).append((module_name, owner))
    return classes


def _methods() -> Iterator[tuple[str, str, ast.FunctionDef]]:
    """Yield the module and the class of every method."""
    for module_name in module_names():
        for owner, nodes in read_module(module_name).definitions.items():
            for part in (part for node in nodes if isinstance(node, ast.ClassDef) for part in node.body):
                if isinstance(part, ast.FunctionDef):
                    yield module_name, owner, part
