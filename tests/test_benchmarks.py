"""The scripts in benchmarks/ go on running as params and stages change."""

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_prepare_and_split_are_measured(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    benchmark = importlib.import_module("prepare_split")
    recorded: dict[str, Any] = {}
    monkeypatch.setattr(benchmark, "SIZES", (300, 600))
    monkeypatch.setattr(benchmark, "record", lambda _, **values: recorded.update(values))
    benchmark.main()
    assert recorded["figures"]["stages"]["prepare"]["600"]["peak_gib"] > 0
