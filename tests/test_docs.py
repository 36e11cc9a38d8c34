"""The pages say what is there: rooms, folders of components, paths, links, and a component that works."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

TREE = (ROOT / "docs/repository.md").read_text(encoding="utf-8").split("\npipeline/ ")[1].split("\ntests/")[0]
ROOMS = [path.parent for path in (ROOT / "pipeline").glob("*/__init__.py")]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


def component_folders(room: Path) -> set[str]:
    folders = {path.parent for path in room.glob("*/[a-z]*.py")}
    return {
        folder.name
        for folder in folders
        if all("\ndef build(" in path.read_text(encoding="utf-8") for path in folder.glob("[a-z]*.py"))
    }


def test_the_tree_of_the_repository_has_a_line_for_every_room_with_its_folders_of_components() -> None:
    lines = dict(re.findall(r"^  (\w+)/ (.*)$", TREE, re.MULTILINE))
    named = {room: set(re.findall(r"\w+", line.partition("[")[2])) for room, line in lines.items()}
    assert named == {room.name: component_folders(room) for room in ROOMS}


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:pipeline|stages|tests|benchmarks|docs)/[\w./]*\w/?)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", (ROOT / page).read_text(encoding="utf-8"))
    targets = [((ROOT / page).parent / path if path else ROOT / page, heading) for path, heading in links]
    assert [
        str(path) for path, heading in targets if not path.exists() or (heading and heading not in headings(path))
    ] == []


def headings(path: Path) -> set[str]:
    """Return the names by which links reach the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_component_of_the_docs_is_that_of_the_project() -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/components.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code == (ROOT / "pipeline/training/losses/poly.py").read_text(encoding="utf-8")
