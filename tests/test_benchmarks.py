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
