"""The demo through `dvc repro` from clean, a repro when nothing changed, `stitchfold check`, and the disk they use.

Run from the repository's root: python benchmarks/graph.py. Writes benchmarks/results/graph.json. With a folder as its
argument it measures only the disk of a finished run there: python benchmarks/graph.py FOLDER. Writes disk.json.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recording import ROOT, record

LIBRARIES = ("dvc", "torch", "transformers", "pydantic")
DISK_TARGET = {"disk_over_weights_at_most": 1.3}
TARGETS = {"demo_seconds_at_most": 240, "nothing_changed_seconds_at_most": 5, "check_seconds_about": 1}


def seconds(command: list[str], folder: Path) -> float:
    """Run a command and return its wall time."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder)}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def disk(folder: Path) -> dict[str, float]:
    """Return MiB in units, outs and DVC's cache, each block of disk counted once, and MiB of the weights kept."""
    files = {
        path.stat().st_ino: path
        for part in (".stitchfold", "out", ".dvc/cache")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }
    weights = {path.stat().st_ino: path for path in (folder / "out").rglob("model.safetensors")}
    used, kept = (sum(path.stat().st_size for path in found.values()) / 2**20 for found in (files, weights))
    return {"used_mib": used, "weights_mib": kept, "disk_over_weights": used / kept}


def main() -> None:
    """Measure and write the result."""
    if len(sys.argv) > 1:
        record("disk", figures=disk(Path(sys.argv[1])), targets=DISK_TARGET, libraries=LIBRARIES)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "stitchfold"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        seconds(["stitchfold", "demo"], folder)
        figures = {"demo_seconds": seconds(["dvc", "repro"], folder)}
        figures["nothing_changed_seconds"] = statistics.median(seconds(["dvc", "repro"], folder) for _ in range(5))
        figures["check_seconds"] = statistics.median(seconds(["stitchfold", "check"], folder) for _ in range(5))
        figures.update(disk(folder))
    record("graph", figures=figures, targets=TARGETS | DISK_TARGET, libraries=LIBRARIES)


if __name__ == "__main__":
    main()
