"""Peak memory and time of the stages prepare and split on 100 thousand and 1 million synthetic rows.

Run from the repository's root: python benchmarks/prepare_split.py. Writes benchmarks/results/prepare_split.json.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from recording import ROOT, record

SIZES = (100_000, 1_000_000)
TARGETS = {"peak_gib_at_most": 2.0, "time_ratio_at_most": 12.0}
PARAMS = """
competition: benchmark
tasks:
  demo:
    kind: multiclass
    metric: accuracy
    train: data/benchmark/train.csv
    test: data/benchmark/test.csv
    columns: {id: id, text: text, label: label}
seed: 0
folds: {near_duplicate_similarity: 0.85}
augment: {}
training: {}
encoders: {unused: {source: from_config}}
stitch: {}
baselines: {tfidf_logistic: tfidf_logistic}
stack: {}
submit: {}
"""


def write_competition(folder: Path, *, n_rows: int, seed: int) -> None:
    """Write rows of 100 characters, a tenth of them for test; 2 % repeat an earlier text, 3 % nearly so."""
    generator = np.random.default_rng(seed)
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    words = [bytes(generator.choice(letters, size)).decode() for size in generator.integers(3, 10, 20_000)]
    (folder / "data" / "benchmark").mkdir(parents=True)
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    texts: list[str] = []
    for kind, chosen in zip(generator.random(n_rows), generator.integers(0, len(words), (n_rows, 24)), strict=True):
        text = " ".join(words[word] for word in chosen)[:100]
        if texts and kind < 0.05:
            earlier = texts[int(chosen[0]) * len(texts) // len(words)]
            text = earlier if kind < 0.02 else earlier[:97] + text[:3]
        texts.append(text)
    labels = generator.integers(0, 5, n_rows)
    n_test = n_rows // 10
    for name, rows, header in (("train", range(n_test, n_rows), "id,text,label"), ("test", range(n_test), "id,text")):
        with (folder / "data" / "benchmark" / f"{name}.csv").open("w", encoding="utf-8", newline="\n") as file:
            print(header, file=file)
            file.writelines(f"{i},{texts[i]}" + (f",class{labels[i]}\n" if name == "train" else "\n") for i in rows)


def measure(arguments: list[str], folder: Path) -> dict[str, float]:
    """Run a command in a fresh process; return its seconds (wall and CPU) and its peak memory in GiB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{arguments}: exit status {os.waitstatus_to_exitcode(status)}. Run it by hand to see why.")
    wall = time.perf_counter() - start
    return {"wall_seconds": wall, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_gib": usage.ru_maxrss / 2**20}


def main() -> None:
    """Measure both stages at both sizes and write the result."""
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for n_rows in SIZES:
            folder = Path(temporary) / str(n_rows)
            folder.mkdir()
            write_competition(folder, n_rows=n_rows, seed=0)
            for stage in ("prepare", "split"):
                # Loading the libraries is no work on rows: taken off, or it would flatter the ratio.
                imports = f"import stages.{stage}, sklearn.model_selection, datasketch"
                idle = [measure(["-c", imports], folder) for _ in range(2)][1]  # the first fills the disk cache
                used = measure(["-m", f"stages.{stage}"], folder)
                net = {key: used[key] - idle[key] for key in ("wall_seconds", "cpu_seconds")}
                figures.setdefault(stage, {})[str(n_rows)] = {**net, "peak_gib": used["peak_gib"]}
    small, large = map(str, SIZES)
    ratios = {
        kind: {name: stage[large][kind] / stage[small][kind] for name, stage in figures.items()}
        for kind in ("wall_seconds", "cpu_seconds")
    }
    peak = max(stage[large]["peak_gib"] for stage in figures.values())
    libraries = ("numpy", "pandas", "pyarrow", "scikit-learn", "datasketch")
    measured = {"stages": figures, "peak_gib": peak, "time_ratio": ratios}
    record("prepare_split", figures=measured, targets=TARGETS, libraries=libraries)


if __name__ == "__main__":
    main()
