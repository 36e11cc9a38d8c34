"""What one model of several tasks costs: seconds against a model of each, and what each way to weigh the tasks adds.

A BERT of 4 layers and 256 units from configuration, three tasks over short texts of the demo; every setting has a process of
its own in each round, in an order that turns, and the median of the ratios over rounds counts. `hard` is compared with
`separate`, both as whole units: built, trained, saved; ways to weigh are compared by training's seconds with fixed weights,
those that compare tasks within a step with fixed weights over mixed batches.
Run from the repository's root: python benchmarks/multitask.py [rounds]. Writes benchmarks/results/multitask.json.
BENCHMARK_DEVICE=cuda runs it on a GPU.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from recording import ROOT, record

N_ROWS, N_THREADS = {"first": 512, "second": 256, "third": 128}, 2
DEVICE = os.environ.get("BENCHMARK_DEVICE", "cpu")
SEPARATE, FIXED, MIXED = "separate", "fixed", "fixed, mixed"
MIX = {"task_batches": {"mixed": True}}
WEIGHTINGS = ("uncertainty", "dynamic_weight_average", "dynamic_task_prioritisation", "famo")
BY_GRADIENTS = ("gradnorm", "mgda", "pcgrad")
SETTINGS: dict[str, dict[str, Any]] = {
    SEPARATE: {},
    FIXED: {"sharing": "hard", "task_weighting": "fixed"},
    MIXED: {"sharing": "hard", "task_weighting": "fixed", **MIX},
    **{name: {"sharing": "hard", "task_weighting": name} for name in WEIGHTINGS},
    **{
        f"{name}, {on}": {"sharing": "hard", "task_weighting": {"name": name, "on": on}, **MIX}
        for name in BY_GRADIENTS
        for on in ("all", "last_layer")
    },
}
TARGETS = {
    "hard_over_separate_at_most": 0.85,
    "weights_at_most": 1.03,
    "by_all_gradients_at_most": 2.2,
    "by_those_of_the_last_layer_at_most": 1.3,
}


def train(setting: str) -> dict[str, float]:
    """Return the seconds of two epochs of all tasks under a setting: of the whole units, and of their training."""
    import pandas as pd

    from pipeline.artifacts.histories import HISTORY
    from pipeline.base_models.fold_training import train_fold
    from pipeline.base_models.shared_training import TaskRows, train_shared
    from pipeline.data.demo import draw_rows
    from pipeline.params.encoders import Encoder
    from pipeline.params.root import Run
    from pipeline.units.execution import run_units
    from pipeline.units.stage import Stage
    from pipeline.units.unit import Unit

    source = {"name": "from_config", "vocab_size": 4000, "hidden_size": 256, "n_layers": 4, "n_heads": 4}
    values = {"source": source, "max_length": 64, "epochs": 2, "checkpoint_seconds": 3600, **SETTINGS[setting]}
    settings = Encoder.model_validate(values)
    parts = {}
    for seed, (task, n_rows) in enumerate(N_ROWS.items()):
        rows = pd.DataFrame(
            {"text": [row.text for row in draw_rows(n_rows, seed=seed)], "text_pair": None, "cluster": 0}
        )
        parts[task] = TaskRows(rows.assign(label=[i % 2 for i in range(n_rows)]), settings, 2, None, 0, ["0", "1"])
    jobs: list[tuple[Unit, Any, dict[str, Any]]] = [
        (
            Unit("benchmark", {"task": task}),
            train_fold,
            {"rows": part.rows, "n_outputs": 2, "settings": settings, "scorer": None, "seed": 0},
        )
        for task, part in parts.items()
    ]
    if settings.shares:
        jobs = [(Unit("benchmark", {}), train_shared, {"tasks": parts, "settings": settings, "seed": 0})]
    run = Run.model_validate(
        {"device": DEVICE, "n_workers": 1, "threads_per_worker": N_THREADS, "backend": "sequential"}
    )
    started = time.perf_counter()
    run_units(jobs, run=run, stage=Stage("benchmark"))
    whole = time.perf_counter() - started
    histories = [path for unit, _, _ in jobs for path in unit.result.rglob(HISTORY)]
    return {
        "whole": whole,
        "training": sum(json.loads(path.read_text(encoding="utf-8"))["seconds"] for path in histories),
    }


def main() -> None:
    """Train every setting in every round and write the ratios."""
    if len(sys.argv) > 2:
        Path(sys.argv[3]).write_text(json.dumps(train(sys.argv[2])), encoding="utf-8")
        return
    n_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    for number in range(n_rounds):
        names = list(SETTINGS)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(_in_a_process(name))
            print(number, name, {what: round(value, 2) for what, value in seconds[name][-1].items()}, flush=True)
    figures: dict[str, Any] = {
        "device": DEVICE,
        "rounds": n_rounds,
        "hard_over_separate": {what: _ratio(seconds, FIXED, SEPARATE, what) for what in ("whole", "training")},
        "over_fixed": {name: _ratio(seconds, name, FIXED) for name in WEIGHTINGS},
        "over_fixed_mixed": {name: _ratio(seconds, name, MIXED) for name in SETTINGS if name.startswith(BY_GRADIENTS)},
    }
    libraries = ("torch", "transformers", "torchjd")
    record(
        "multitask" if DEVICE == "cpu" else f"multitask_{DEVICE}", figures=figures, targets=TARGETS, libraries=libraries
    )


def _ratio(seconds: dict[str, list[dict[str, float]]], name: str, base: str, what: str = "training") -> list[float]:
    """Return the median, the least and the most of a setting's seconds over those of another in the same rounds."""
    ratios = [own[what] / other[what] for own, other in zip(seconds[name], seconds[base], strict=True)]
    return [round(value, 3) for value in (median(ratios), min(ratios), max(ratios))]


def _in_a_process(setting: str) -> dict[str, float]:
    """Return what `train` returns, in a fresh process and folder."""
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "seconds"
        command = [sys.executable, str(Path(__file__).resolve()), "0", setting, str(target)]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(N_THREADS)}
        subprocess.run(command, cwd=temporary, check=True, env=environment)
        return dict(json.loads(target.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
