"""What a switch of training costs: seconds of training with each one on, over those of plain training of the same rows.

A BERT of 4 layers and 256 units from configuration, short texts of the demo; every setting has a process of its own in each
round, in an order that turns, and the median over rounds counts. With the folder of an earlier checkout its plain training
is measured in the same rounds: what all that can be switched on costs where it is off.
Run from the repository's root: python benchmarks/craft.py [rounds] [folder of an earlier checkout]. Writes
benchmarks/results/craft.json. BENCHMARK_DEVICE=cuda runs it on a GPU.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from recording import ROOT, record

N_ROWS, N_THREADS, PLAIN, BEFORE = 640, 2, "plain", "before"
DEVICE = os.environ.get("BENCHMARK_DEVICE", "cpu")
SETTINGS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "ema": {"averaging": "ema"},
    "fgm": {"adversarial": "fgm"},
    "awp": {"adversarial": "awp"},
    "r_drop": {"objective": "r_drop"},
    "lookahead": {"optimizer": "lookahead"},
    "dropout_samples": {"dropout_samples": 5},
}
TARGETS = {"over_before_at_most": 1.03, "fgm_at_most": 2.1, "r_drop_at_most": 2.1, "ema_at_most": 1.03}


def train(setting: str) -> float:
    """Return the seconds that two epochs take under a setting."""
    import pandas as pd

    from pipeline.artifacts.histories import HISTORY
    from pipeline.base_models.fold_training import train_fold
    from pipeline.data.demo import draw_rows
    from pipeline.params.encoders import Encoder
    from pipeline.params.root import Run
    from pipeline.units.execution import run_units
    from pipeline.units.stage import Stage
    from pipeline.units.unit import Unit

    texts = [one.text for one in draw_rows(N_ROWS, seed=0)]
    rows = pd.DataFrame({"text": texts, "text_pair": None, "cluster": 0}).assign(label=[i % 2 for i in range(N_ROWS)])
    source = {"name": "from_config", "vocab_size": 4000, "hidden_size": 256, "n_layers": 4, "n_heads": 4}
    values = {"source": source, "max_length": 64, "epochs": 2, "checkpoint_seconds": 3600, **SETTINGS[setting]}
    unit = Unit("benchmark", {})
    settings = Encoder.model_validate(values)
    arguments = {"rows": rows, "n_outputs": 2, "settings": settings, "scorer": None, "seed": 0}
    run = Run(device=DEVICE, n_workers=1, threads_per_worker=N_THREADS)
    run_units([(unit, train_fold, arguments)], run=run, stage=Stage("benchmark"))
    return float(json.loads((unit.result / HISTORY).read_text(encoding="utf-8"))["seconds"])


def main() -> None:
    """Train every setting in every round and write the ratios."""
    if len(sys.argv) > 3:
        Path(sys.argv[4]).write_text(str(train(sys.argv[3])), encoding="utf-8")
        return
    n_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    checkouts = dict.fromkeys(SETTINGS, ROOT)
    if len(sys.argv) > 2:
        checkouts[BEFORE] = Path(sys.argv[2]).resolve()
    seconds: dict[str, list[float]] = {name: [] for name in checkouts}
    for number in range(n_rounds):
        names = list(checkouts)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(_in_a_process(PLAIN if name == BEFORE else name, checkouts[name]))
            print(number, name, f"{seconds[name][-1]:.1f} s", flush=True)
    pairs = {name: [a / b for a, b in zip(of, seconds[PLAIN], strict=True)] for name, of in seconds.items()}
    figures: dict[str, Any] = {
        "device": DEVICE,
        "rounds": n_rounds,
        "plain_rows_per_second": round(2 * N_ROWS / median(seconds[PLAIN]), 1),
        "over_plain": {name: round(median(of), 3) for name, of in pairs.items() if name not in (PLAIN, BEFORE)},
        "spread": {name: [round(min(of), 3), round(max(of), 3)] for name, of in pairs.items() if name != PLAIN},
    }
    if BEFORE in pairs:
        figures["over_before"] = round(median(1 / ratio for ratio in pairs[BEFORE]), 3)
    libraries = ("torch", "transformers", "pytorch_optimizer")
    record("craft" if DEVICE == "cpu" else f"craft_{DEVICE}", figures=figures, targets=TARGETS, libraries=libraries)


def _in_a_process(setting: str, checkout: Path) -> float:
    """Return the seconds that `train` took with a checkout's code in a fresh process and folder."""
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "seconds"
        command = [sys.executable, str(Path(__file__).resolve()), "0", str(checkout), setting, str(target)]
        path = os.pathsep.join([str(checkout), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(N_THREADS)}
        subprocess.run(command, cwd=temporary, check=True, env=environment)
        return float(target.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
