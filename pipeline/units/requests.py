"""Which units the params files of the tree need, from the note that every run leaves of the units it asked for.

A unit's key cannot be computed from params alone: code, data and machine are in it. So a run notes, before it begins, its
units and the whole params.yaml; a file needs what the last run under the very same settings asked for.
"""

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter
from ruamel.yaml import YAML

from pipeline.artifacts.files import write_atomically
from pipeline.params.yaml_source import plain, refuse_bomb
from pipeline.reproducibility import digest
from pipeline.units.stage import Stage
from pipeline.units.unit import Unit

REQUESTS = Path(".stitchfold/requests")
PARAMS = Path("params.yaml")
log = logging.getLogger(__name__)


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
