"""The report's section of experiments: each table with its plot, the costs, and nothing where nothing was tried."""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from pipeline.report.ablations import ablation_plot, standalone
from tests.report.test_reporting import page, section, values  # noqa: F401  # a fixture

NAMES = ["as it is", "loss={name: focal, gamma: 2} & adversarial=fgm", "loss={name: focal, gamma: 2} & pooling=max"]


def edits() -> dict[str, Any]:
    rows = []
    for number, name in enumerate(NAMES):
        row = {"variant": name, "score": 0.7, "low": 0.6, "high": 0.8, "difference": 0.01 * number}
        row |= {"difference_low": -0.02, "difference_high": 0.04, "standard_error": 0.01, "beyond_chance": number == 2}
        rows.append({**row, "time_ratio": 1.0 + number, "memory_ratio": None})
    return {
        "kind": "edits", "task": "main", "metric": "accuracy", "reference": NAMES[0], "rows": rows, "note": "As said.",
        "date": "2026-11-26", "model": "bert",
    }  # fmt: skip


def standard() -> dict[str, Any]:
    rows = [{"variant": name, "mean": 0.5, "variance": None, "epochs": [0.25, None, 0.75]} for name in NAMES]
    return {**edits(), "kind": "standard", "rows": rows}


def test_each_table_has_its_plot_and_costs(values: dict[str, Any]) -> None:  # noqa: F811
    values["ablations"] = {"main": {"edits": edits(), "standard": standard()}}
    html = page(values)
    text = section(html, "experiments")
    assert "With and without edits of params.yaml: bert" in text and "Validation scores over epochs: bert" in text
    assert (
        f"{NAMES[2]} 0.7000 0.6000 to 0.8000 +0.0200 * 0.0100 −0.0200 to +0.0400 × 3.00 –".replace("&", "&amp;") in text
    )
    assert "as it is 0.5000 – 0.2500 – 0.7500" in text
    assert html.count('href="#experiments"') == 1 and 'aria-label="main: edits"' in html


def test_without_experiments_there_is_no_such_section(values: dict[str, Any]) -> None:  # noqa: F811
    assert "experiments" not in re.findall(r'(?:id|href)="#?(\w+)"', page(values))


@pytest.mark.parametrize("table", [edits(), standard()], ids=["edits", "standard"])
def test_a_plot_stands_alone_with_whole_names(table: dict[str, Any]) -> None:
    root = ElementTree.fromstring(standalone(ablation_plot(table)))
    text = ElementTree.tostring(root, encoding="unicode")
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and "var(" not in text
    if table["kind"] == "edits":
        shown = {"".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")}
        assert set(NAMES[1:]) <= shown
