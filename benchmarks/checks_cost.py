"""The time that checks add to the demo: digests, params, pre-flight, leaks, predictions, the probe of the longest rows.

One run of `dvc repro` from clean in which every process, workers included, notes how long its calls of `CHECKS` took; a check
within a check counts once. Workers run side by side, so the share of the run's wall time is rather too high than too low.
Run from the repository's root: python benchmarks/checks_cost.py. Writes benchmarks/results/checks_cost.json.
"""

import functools
import importlib.abc
import importlib.machinery
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

from graph import LIBRARIES, seconds
from recording import ROOT, record

TARGETS = {"share_at_most": 0.05}
NOTES = "CHECKS_COST_NOTES"
CHECKS = {
    "params": ["pipeline.params.loading:load_params"],
    "preflight": [
        "pipeline.checks.preflight:check_stage", "pipeline.checks.unit_needs:encoder_needs",
        "pipeline.checks.unit_needs:stitch_need",
    ],
    "digests": [
        "pipeline.artifacts.files:sha256_of", "pipeline.artifacts.files:verify", "pipeline.artifacts.files:write_digest",
        "pipeline.artifacts.files:is_whole",
    ],
    "leaks": ["pipeline.report.leaks:find_leaks", "pipeline.artifacts.copies:check_leaks"],
    "predictions": ["pipeline.artifacts.predictions:check_predictions"],
    "submission": ["pipeline.submit.rehearsal:rehearse"],
    "units": ["pipeline.units.differences:explain"],
    "longest_rows": ["pipeline.training.loop:_Loop.begin"],
}  # fmt: skip
_running = threading.local()


def timed(check: str, function: Any) -> Any:
    """Return the function, noting each outermost call in a file of this process."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if getattr(_running, "check", None) is not None:
            return function(*arguments, **options)
        _running.check, started = check, time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            taken, _running.check = time.perf_counter() - started, None
            with (Path(os.environ[NOTES]) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps([check, taken]) + "\n")

    return call


class TimedImports(importlib.abc.MetaPathFinder):
    """Puts `timed` around the checks of a module right after it is loaded, before others import them from it."""

    def find_spec(
        self, name: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module with checks."""
        own = [
            (check, place.split(":")[1])
            for check, places in CHECKS.items()
            for place in places
            if place.startswith(f"{name}:")
        ]
        spec = importlib.machinery.PathFinder.find_spec(name, path) if own else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            for check, place in own:
                *holders, attribute = place.split(".")
                holder = functools.reduce(getattr, holders, module)
                setattr(holder, attribute, timed(check, getattr(holder, attribute)))

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def main() -> None:
    """Run the demo with timed checks and write their share."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, notes = Path(temporary) / "stitchfold", Path(temporary) / "notes"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        seconds(["stitchfold", "demo"], folder)
        notes.mkdir()
        hook = "import sys\nfrom checks_cost import TimedImports\nsys.meta_path.insert(0, TimedImports())\n"
        (folder / "sitecustomize.py").write_text(hook, encoding="utf-8")
        for name in ("checks_cost", "graph", "recording"):
            (folder / f"{name}.py").symlink_to(Path(__file__).with_name(f"{name}.py").resolve())
        os.environ[NOTES] = str(notes)
        total = seconds(["dvc", "repro"], folder)
        spent: dict[str, float] = defaultdict(float)
        for path in notes.iterdir():
            for line in path.read_text(encoding="utf-8").splitlines():
                check, taken = json.loads(line)
                spent[check] += taken
    figures = {"demo_seconds": total, "check_seconds": dict(spent), "share": sum(spent.values()) / total}
    missing = sorted(CHECKS.keys() - spent)
    if missing:
        sys.exit(f"checks_cost: must see every check, got no call of {missing}. Correct CHECKS.")
    record("checks_cost", figures=figures, targets=TARGETS, libraries=LIBRARIES)


if __name__ == "__main__":
    main()
