"""The house: packages import downwards only, rooms stay small, and what has a place of its own stands nowhere else."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline import components
from tests.conftest import ROOT

# From the ground up; a room imports those of the floors below it, for types too.
FLOORS = [
    {"errors", "reproducibility", "number_formats", "ranges"},
    {"components", "contracts", "model_sources", "text", "training_contracts"},
    {"artifacts", "params", "targets"},
    {"recipes"},
    {"units"},
    {"data", "models"},
    {"training", "submit", "start"},
    {"multitask", "pretrain"},
    {"base_models", "ensemble"},
    {"augment", "stitch"},
    {"report", "bundle"},
    {"experiments"},
    {"checks"},
    {"stage_run"},
    {"ablate_commands"},
    {"init_command", "board_commands", "parse_command"},
    {"cli"},
]
MOST_MODULES, MOST_LINES, MOST_LINES_OF_A_FUNCTION = 15, 300, 40
MODULES = sorted((ROOT / "pipeline").rglob("*.py"))
STAGES = sorted((ROOT / "stages").glob("*.py"))
FOLDERS = sorted({path.parent for path in MODULES})
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
NAMES = {kind: set(components.available(kind)) for kind in components.kinds()}
EVERY_NAME = set[str]().union(*NAMES.values())


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
        r"out/[a-z_]+(/|\.json)|(table|clusters|likeness|folds|copies|barred)\.parquet|(audit|scores|metrics|history)\.json"
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


@pytest.mark.parametrize("path", [*MODULES, *STAGES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_component_is_named_outside_its_folder(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    outside = {name for kind, names in NAMES.items() if kind != path.parent.name for name in names}
    known_here = NAMES.get(path.parent.name, set())
    assert sorted(set(component_names(tree)) & outside - known_here) == []


@pytest.mark.parametrize(
    "code",
    [
        "from pipeline.models.heads import linear",
        "from pipeline.models.heads.linear import build",
        "if head.name == 'linear': pass",
        "if name in ('linear', 'other'): pass",
        "components.load('heads', 'linear')",
        "sizes = {'linear': 1, 'mlp': 2}",
        "QUICK = ('linear', 'mlp')",
        "raise ValueError(f'got {head}, take text_cnn')",
        "head = 'text_cnn'",
    ],
)
def test_a_component_that_is_named_is_seen(code: str) -> None:
    assert set(component_names(ast.parse(code))) & NAMES["heads"]


@pytest.mark.parametrize(
    "code",
    [
        "tsa: Literal['none', 'linear', 'attention'] = 'linear'",
        "class Encoder:\n    head: component('heads') = 'text_cnn'",
        "def f():\n    '''A text_cnn is a head.'''",
        "score = table['accuracy']",
    ],
)
def test_words_that_mean_something_else_and_defaults_of_params_are_no_names(code: str) -> None:
    assert not list(component_names(ast.parse(code)))


def component_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names by which a module names components.

    Many are plain words, such as `mean`. So a text counts where it can mean nothing else: with an underscore in it, given to
    `components`, compared with a `name`, or beside another of its kind.
    """
    excepted = {id(part) for node in ast.walk(tree) if _is_no_use(node) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in excepted:
            continue
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield from _imported(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (word for word in re.findall(r"\w+", node.value) if "_" in word and word in EVERY_NAME)
        elif (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("components.")) or (
            isinstance(node, ast.Compare) and re.search(r"\bname\b", ast.unparse(node))
        ):
            yield from _texts(node)
        elif isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            texts = list(_texts(node))
            yield from (
                text for text in texts for names in NAMES.values() if len(names & {*texts}) > 1 and text in names
            )


def _is_no_use(node: ast.AST) -> bool:
    """Return whether a node is a docstring, the values of a `Literal`, or a default of the params."""
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.value) == "Literal"
    if isinstance(node, ast.AnnAssign):
        return "component(" in ast.unparse(node.annotation)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _imported(module: str) -> Iterator[str]:
    parts = module.split(".")
    if parts[0] == "pipeline":
        yield from (name for kind, name in pairwise(parts) if name in NAMES.get(kind, ()))


def _texts(node: ast.AST) -> Iterator[str]:
    yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and part.value in EVERY_NAME)
