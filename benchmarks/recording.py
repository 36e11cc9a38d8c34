"""How every benchmark writes its result: figures beside targets, with date, machine and versions."""

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def record(name: str, *, figures: Any, targets: dict[str, float], libraries: tuple[str, ...]) -> None:
    """Write benchmarks/results/<name>.json and print it."""
    result = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": {library: importlib.metadata.version(library) for library in libraries},
        "targets": targets,
        "figures": figures,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text(encoding="utf-8").splitlines() if cpu_info.is_file() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cpu = models[0] if models else platform.processor()
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version()}
