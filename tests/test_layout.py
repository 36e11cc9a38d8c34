"""The house: packages import downwards only, rooms stay small, and what has a place of its own stands nowhere else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import components
from tests.conftest import ROOT

# From the ground up; a room imports those of the floors below it, for types too.
FLOORS = [
    {"errors", "reproducibility", "number_formats"},
    {"components", "contracts", "model_sources", "text", "training_contracts"},
    {"artifacts", "params"},
    {"recipes"},
    {"units"},
    {"data", "models"},
    {"training", "submit"},
    {"base_models", "ensemble"},
    {"augment", "stitch"},
    {"report", "bundle", "experiments"},
    {"checks"},
    {"stage_run"},
    {"cli"},
]
MOST_MODULES, MOST_LINES, MOST_LINES_OF_A_FUNCTION = 15, 300, 40
MODULES = sorted((ROOT / "pipeline").rglob("*.py"))
FOLDERS = sorted({path.parent for path in MODULES})
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "pipeline").as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "pipeline").with_suffix("").parts[0]


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a module imports from this project, wherever the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "pipeline":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in MODULES} - {"__init__"} == set(FLOOR_OF)


@pytest.mark.parametrize("path", [path for path in MODULES if path.stem != "__init__"], ids=name_of)
def test_no_import_runs_up(path: Path) -> None:
    room = room_of(path)
    rooms = {imported.split(".")[1] for imported in imports_of(TREES[path])} - {room}
    assert [other for other in rooms if FLOOR_OF[other] >= FLOOR_OF[room]] == []


def test_no_modules_of_a_room_import_one_another_in_a_circle() -> None:
    known = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    waiting = {
        module: {name for imported in imports_of(TREES[path]) for name in (imported, imported.rpartition(".")[0])}
        & set(known)
        for module, path in known.items()
    }
    while ready := [module for module, needed in waiting.items() if not needed & set(waiting)]:
        for module in ready:
            del waiting[module]
    assert waiting == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_folder_that_holds_no_components_holds_few_modules(folder: Path) -> None:
    modules = [path for path in folder.glob("*.py") if path.stem != "__init__"]
    assert len(modules) <= MOST_MODULES or folder.name in components.kinds()
    assert not (folder / "__init__.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    functions = [node for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [node.name for node in functions if lines_of(node) > MOST_LINES_OF_A_FUNCTION] == []


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    first = node.body[0]
    docstring = 0 if ast.get_docstring(node) is None else int(first.end_lineno or 0) - first.lineno + 1
    return int(node.end_lineno or 0) - node.lineno + 1 - docstring


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_public_definition_is_documented(path: Path) -> None:
    definitions = [node for node in TREES[path].body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    methods = [node for owner in definitions if isinstance(owner, ast.ClassDef) for node in owner.body]
    # What a protocol of a component or of torch says, its implementations need not say again.
    known = {"forward", "visit", "generic_visit", "format", "__call__"}
    public = [
        node
        for node in [*definitions, *methods]
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith(("_", "visit_"))
        and node.name not in known
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def test_files_of_out_are_named_among_the_artifacts_alone() -> None:
    named = re.compile(
        r"out/[a-z_]+(/|\.json)|(table|clusters|folds|copies|barred)\.parquet|(audit|scores|metrics|history)\.json"
    )
    texts = {
        name_of(path): [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and named.fullmatch(node.value)
        ]
        for path, tree in TREES.items()
        if room_of(path) != "artifacts"
    }
    assert {name: found for name, found in texts.items() if found} == {}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_takes_what_another_one_keeps_for_itself(path: Path) -> None:
    assert [imported for imported in imports_of(TREES[path]) if imported.rpartition(".")[2].startswith("_")] == []
    assert (
        not [
            ast.unparse(node)
            for node in ast.walk(TREES[path])
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__")
        ]
        or room_of(path) == "components"
    )
