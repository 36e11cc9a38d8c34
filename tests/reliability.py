"""Run the tests of the fault catalogue and write docs/reliability.md from their names, docstrings and outcomes.

A test belongs to the rows that its name carries, as in `test_F6_...` or `test_F1_I1_...`; `S1_to_S21` means all between.
`python -m tests.reliability` (or `make reliability`) runs them; `--only-table` leaves the outcomes as the page has them.
"""

import ast
import datetime
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reliability.md"
SECTIONS = {
    "F": ("Processes and storage", 22),
    "P": ("Params and environment", 7),
    "D": ("Data", 23),
    "L": ("Leaks and evaluation", 8),
    "S": ("Submission: what a competition would refuse", 21),
    "H": ("Properties, over generated inputs", 6),
    "I": ("Invariants", 20),
}
WITHOUT_TEST = {"F22": "There is no search of hyperparameters, hence no journal of trials that could be torn."}
NAME = re.compile(r"test_((?:[FPDLSHI]\d+_(?:to_)?)+)")


@dataclass(frozen=True)
class RowTest:
    """A test of the catalogue: its rows, where it stands as pytest names it, what it shows, and its marks."""

    rows: tuple[str, ...]
    node_id: str
    behaviour: str
    marks: tuple[str, ...]


def rows_of(name: str) -> tuple[str, ...]:
    """Return the rows that a test's name carries.

    >>> rows_of("test_F1_I3_to_I5_a_kill_loses_nothing"), rows_of("test_a_kill")
    (('F1', 'I3', 'I4', 'I5'), ())
    """
    match = NAME.match(name)
    rows: list[str] = []
    parts = match[1].rstrip("_").split("_") if match else []
    for position, part in enumerate(parts):
        if part == "to":
            letter, first, last = rows[-1][0], int(rows[-1][1:]), int(parts[position + 1][1:])
            rows += [f"{letter}{number}" for number in range(first + 1, last)]
        else:
            rows.append(part)
    return tuple(rows)


def collect() -> Iterator[RowTest]:
    """Yield the tests of the catalogue, in the order of files and lines."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        owners = {
            id(inner): f"{node.name}::" for node in tree.body if isinstance(node, ast.ClassDef) for inner in node.body
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and rows_of(node.name):
                marks = tuple(sorted({mark for decorator in node.decorator_list for mark in _marks(decorator)}))
                behaviour = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                node_id = f"{path.relative_to(ROOT).as_posix()}::{owners.get(id(node), '')}{node.name}"
                yield RowTest(rows_of(node.name), node_id, behaviour, marks)


def _marks(decorator: ast.expr) -> Iterator[str]:
    """Yield `slow` or `gpu` where a test is marked so as a whole."""
    if isinstance(decorator, ast.Attribute) and decorator.attr in ("slow", "gpu", "real_data"):
        yield decorator.attr


def outcomes(tests: list[RowTest]) -> dict[str, str]:
    """Run the tests and return each one's outcome by its node id: passed, failed, or skipped and why."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        ids = sorted({test.node_id for test in tests})
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", f"--junitxml={report}"]
        subprocess.run([*command, "-m", "not real_data", *ids], cwd=ROOT, check=False)
        outcomes: dict[str, str] = {}
        for case in ElementTree.parse(report).iter("testcase"):
            *folders, module = re.split(r"\.(?![A-Z])", case.attrib["classname"])  # a class stays with its module
            file, dot, owner = module.partition(".")
            name = case.attrib["name"].partition("[")[0]
            key = "/".join([*folders, f"{file}.py"]) + "::" + (f"{owner}::" if dot else "") + name
            problem = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
            if problem is None:
                outcomes.setdefault(key, "passed")
            elif problem.tag == "skipped":
                outcomes[key] = (
                    outcomes[key] if outcomes.get(key) == "failed" else "skipped: " + problem.attrib["message"]
                )
            else:
                outcomes[key] = "failed"
    return outcomes


def page(tests: list[RowTest], states: dict[str, str], date: str) -> str:
    """Return the page."""
    lines = [
        "# Reliability",
        "",
        "What may go wrong, what happens then, and the test that shows it. The table is made from the tests by `make",
        f"reliability`; states are those of {date}. `pytest -k F6_` runs the tests of a row.",
    ]
    for letter, (title, last) in SECTIONS.items():
        lines += ["", f"## {title}", "", "| row | behaviour | test | state |", "|---|---|---|---|"]
        for row in (f"{letter}{number}" for number in range(1, last + 1)):
            of_row = [test for test in tests if row in test.rows]
            if not of_row:
                lines.append(f"| {row} | {WITHOUT_TEST.get(row, 'No test.')} | | none |")
            for position, test in enumerate(of_row):
                marks = "".join(f", {mark}" for mark in test.marks)
                state = states.get(test.node_id, "not run") + marks
                file, *_, name = test.node_id.split("::")
                link = f"[{name.removeprefix('test_')}](../{file})"
                lines.append(f"| {row if position == 0 else ''} | {_cell(test.behaviour)} | {link} | {state} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def states_of(text: str, tests: list[RowTest]) -> tuple[dict[str, str], str]:
    """Return the states of the tests and the date that a page has."""
    known = {}
    for name, file, state in re.findall(r"\[([^\]]+)\]\(\.\./([^)]+)\) \| ([^|]*) \|", text):
        known[file, f"test_{name}"] = state.split(", ")[0]
    states = {
        test.node_id: known.get((test.node_id.split("::")[0], test.node_id.split("::")[-1]), "not run")
        for test in tests
    }
    date = re.search(r"states are those of (\S+)\. ", text)
    return states, date[1] if date else "never"


def main() -> None:
    """Write the page."""
    tests = list(collect())
    if "--only-table" in sys.argv:
        states, date = states_of(PAGE.read_text(encoding="utf-8"), tests)
    else:
        states, date = outcomes(tests), datetime.date.today().isoformat()
    PAGE.write_text(page(tests, states, date), encoding="utf-8")


if __name__ == "__main__":
    main()
