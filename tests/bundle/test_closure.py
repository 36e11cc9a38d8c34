"""What a bundle carries is this project's own text, whole enough to run, and needs no library for training or checking."""

import ast
import builtins
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import components
from pipeline.bundle.closure import STAND_INS, carried_code, component_starts
from pipeline.recipes.source_modules import path_of
from tests.bundle.test_run import AT_HOME

RESTORED = ("encoders",)
BUILT = ("task_kinds", "formats", "stackers", "baselines", "heads", "poolings", "fusions")


@pytest.fixture(scope="module")
def everything() -> tuple[dict[str, str], set[str]]:
    """The code for every component that any bundle may have, and the packages that it imports."""
    starts = [("pipeline.bundle.run", "main")]
    for kind in (*RESTORED, *BUILT):
        function = "restore" if kind in RESTORED else "build"
        starts += [start for name in components.available(kind) for start in component_starts(kind, name, function)]
    return carried_code(starts)


def test_no_code_that_a_bundle_may_carry_imports_what_stays_at_home(
    everything: tuple[dict[str, str], set[str]],
) -> None:
    stay = {"pydantic", "pydantic_core", "dvc", "joblib", "typer", "yaml", "ruamel", "accelerate", "gensim", "filelock"}
    assert everything[1] & stay == set()


def test_every_name_that_carried_code_looks_up_is_there(everything: tuple[dict[str, str], set[str]]) -> None:
    missing = {}
    for file, text in everything[0].items():
        tree = ast.parse(text)
        known = {*vars(builtins), "__file__", "__name__"}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                known |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                known.add(node.name)
            elif isinstance(node, ast.arg):
                known.add(node.arg)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                known.add(node.name)
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                known.add(node.id)
            elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
                known.add(node.name)
        if unknown := {name for name in looked_up(tree) if name not in known}:
            missing[file] = unknown
    assert missing == {}


def looked_up(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    for field, value in ast.iter_fields(node):
        for child in (value if isinstance(value, list) else [value]) if field not in ("annotation", "returns") else ():
            if isinstance(child, ast.AST):
                yield from looked_up(child)


def test_it_is_the_text_of_the_project_but_for_what_stands_in(everything: tuple[dict[str, str], set[str]]) -> None:
    for file, text in everything[0].items():
        module = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        own = path_of(module).read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (module, node.name) not in STAND_INS:
                assert ast.get_source_segment(text, node) in own, (module, node.name)


def test_all_of_it_can_be_imported_without_the_project(
    everything: tuple[dict[str, str], set[str]], tmp_path: Path
) -> None:
    for file, text in everything[0].items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    names = [file.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for file in everything[0]]
    code = (
        f"import importlib, sys; sys.modules.update(dict.fromkeys({AT_HOME})); sys.path.insert(0, {str(tmp_path)!r})\n"
        f"[importlib.import_module(name) for name in {names}]"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


def test_a_start_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError, match="no_such"):
        carried_code([("pipeline.bundle.run", "no_such")])
