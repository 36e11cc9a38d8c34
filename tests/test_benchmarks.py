"""The scripts in benchmarks/ go on running as params and stages change."""

import importlib
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("script", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_what_a_script_imports_is_there(monkeypatch, script: str) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    importlib.import_module(script)


def test_the_checks_whose_time_is_taken_are_there(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for check in (check for checks in importlib.import_module("checks_cost").CHECKS.values() for check in checks):
        module, _, name = check.partition(":")
        assert callable(reduce(getattr, name.split("."), importlib.import_module(module)))


@pytest.mark.slow
def test_prepare_and_split_are_measured(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    benchmark = importlib.import_module("prepare_split")
    recorded: dict[str, Any] = {}
    monkeypatch.setattr(benchmark, "SIZES", (300, 600))
    monkeypatch.setattr(benchmark, "record", lambda _, **values: recorded.update(values))
    benchmark.main()
    assert recorded["figures"]["stages"]["prepare"]["600"]["peak_gib"] > 0


def test_a_claim_is_held_against_the_truth(monkeypatch) -> None:
    """The simulation claims and compares for every metric, and its summary says how often the claim held."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    benchmark, populations = importlib.import_module("coverage"), importlib.import_module("populations")
    monkeypatch.setattr(populations, "N_TEST", 400)
    rows = benchmark.run("synthetic, 500 rows, 2 labels", 0)
    assert [row["metric"] for row in rows] == list(benchmark.METRICS)
    assert all(abs(row["error"]) < 0.2 and 0.9 < row["width"] < 2 for row in rows)
    assert 0 <= benchmark.summarise(rows)["covered"] <= 1
