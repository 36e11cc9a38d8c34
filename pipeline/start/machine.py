"""What this machine has for training: cores, GPUs, and checkpoints in models/ and in installed packages."""

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import joblib

from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import check_checkpoint, misplaced

MODELS = Path("models")


@dataclass(frozen=True)
class Machine:
    """Cores and GPUs."""

    n_cores: int
    n_gpus: int

    @property
    def text(self) -> str:
        """In words."""
        gpus = f"{self.n_gpus} GPU(s)" if self.n_gpus else "no GPU"
        return f"{self.n_cores} core(s) and {gpus}"


def this_machine() -> Machine:
    """Return what this machine has, without torch."""
    return Machine(joblib.cpu_count(), len(list(Path("/dev").glob("nvidia[0-9]*"))))


def find_checkpoints(*, max_length: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield a name and the source of each checkpoint with safetensors here that holds texts of this length, sorted."""
    folders = [(path.parent, {"path": path.parent.as_posix()}) for path in sorted(MODELS.glob("*/config.json"))]
    for place in map(Path, sys.path):
        inner = sorted(place.glob("*/model/config.json")) if place.name == "site-packages" else ()
        folders += [(path.parent, {"package": path.parent.relative_to(place).as_posix()}) for path in inner]
    for folder, source in folders:
        with suppress(ParamsError):
            check_checkpoint(folder, max_length=max_length)
            name = folder.name if "path" in source else folder.parent.name
            if (folder / "tokenizer.json").is_file() and not misplaced(source.get("path", "models/x"), "folder"):
                yield re.sub("[^a-z0-9_-]+", "-", name.lower()), source
