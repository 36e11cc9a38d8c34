"""README and CONTRIBUTING say what is there: rooms, folders of components, paths, and a component that works."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
TREE = README.split("\npipeline/ ")[1].split("\ntests/")[0]
ROOMS = [path.parent for path in (ROOT / "pipeline").glob("*/__init__.py")]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


def component_folders(room: Path) -> set[str]:
    folders = {path.parent for path in room.glob("*/[a-z]*.py")}
    return {
        folder.name
        for folder in folders
        if all("\ndef build(" in path.read_text(encoding="utf-8") for path in folder.glob("[a-z]*.py"))
    }


def test_the_readmes_tree_has_a_line_for_every_room_with_its_folders_of_components() -> None:
    lines = dict(re.findall(r"^  (\w+)/ (.*)$", TREE, re.MULTILINE))
    named = {room: set(re.findall(r"\w+", line.partition("[")[2])) for room, line in lines.items()}
    assert named == {room.name: component_folders(room) for room in ROOMS}


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:pipeline|stages|tests|benchmarks|docs)/[\w./]*\w/?)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_readmes_component_is_that_of_the_project() -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert code == (ROOT / "pipeline/training/losses/poly.py").read_text(encoding="utf-8")
