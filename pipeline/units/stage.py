"""What asks for units: a stage of the graph or a part of one; the record of its last run, and the note of what it asked for.

Which units the params files of the tree need is known from these notes: a unit's key cannot be computed from params alone, as
code, data and machine are in it. So a run notes, before it begins, its units and the whole params.yaml; a file needs what
the last run under the very same settings asked for.
"""

import json
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter
from ruamel.yaml import YAML

from pipeline.artifacts.files import write_atomically
from pipeline.params.yaml_source import plain, refuse_bomb
from pipeline.reproducibility import digest
from pipeline.units.unit import Unit

LAST_RUN = Path(".stitchfold/last_run")
REQUESTS = Path(".stitchfold/requests")
PARAMS = Path("params.yaml")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """A stage of the graph or a part of one, for all its units or for those of one model or of one fold."""

    kind: str
    model: str | None = None
    task: str | None = None
    repeat: int | None = None
    fold: int | None = None

    @property
    def name(self) -> str:
        """Return the name for people and files; nobody parses it.

        >>> Stage("finetune", model="bert").name, Stage("stitch-heads", task="news", repeat=0, fold=1).name
        ('finetune-bert', 'stitch-heads-news-r0-f1')
        """
        fold = self.task if self.fold is None else f"{self.task}-r{self.repeat}-f{self.fold}"
        return "-".join(filter(None, (self.kind, self.model, fold)))


@dataclass(frozen=True)
class LastRun:
    """How many units the last run of a stage computed and found in the store, and how long it took."""

    stage: Stage
    computed: int
    reused: int
    seconds: float

    def write(self) -> None:
        """Write it down in the place of the run before."""
        write_atomically(LAST_RUN / f"{self.stage.name}.json", (json.dumps(asdict(self)) + "\n").encode())


def recorded_runs(folder: Path = LAST_RUN) -> list[LastRun]:
    """Return the records of all stages by name, without damaged ones, on which nothing else depends."""
    runs = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError, KeyError):
            record = json.loads(path.read_text(encoding="utf-8"))
            runs.append(LastRun(**{**record, "stage": Stage(**record["stage"])}))
    return runs


@dataclass(frozen=True)
class Request:
    """What a run asked for: units by key with their names, under the params.yaml of that moment."""

    stage: Stage
    by_dvc: bool
    params: dict[str, Any]
    units: dict[str, str]
    path: Path
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


FORM = TypeAdapter(Request)


def note_request(units: Iterable[Unit], *, stage: Stage) -> None:
    """Note which units a stage is about to ask for, and under which params.yaml; nothing where there is none."""
    if not PARAMS.exists():
        return
    record = {
        "stage": asdict(stage),
        "by_dvc": "DVC_STAGE" in os.environ,  # else by hand, as ablations are: they speak for no stage
        "params": PARAMS.read_text(encoding="utf-8-sig"),
        "units": {unit.key: unit.name for unit in units},
    }
    content = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
    write_atomically(REQUESTS / f"{digest(record)[:32]}.json", content.encode())


def read_requests(folder: Path = REQUESTS) -> list[Request]:
    """Return the notes of all runs, oldest first; one in another form than today's counts as damaged."""
    requests = []
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            requests.append(FORM.validate_python({**record, "params": _parsed(record["params"]), "path": path}))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            log.warning("%s: damaged: %s. The units that it speaks of are kept, as of nobody.", path, error)
    return requests


@cache
def _parsed(text: str) -> dict[str, Any]:
    raw = YAML(typ="rt").load(text)
    refuse_bomb(raw, PARAMS)
    params: dict[str, Any] = plain(raw)
    return params
