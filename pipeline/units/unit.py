"""A unit of work, found in the store by a key that says everything its result depends on, and never computed again.

Its folder is `.stitchfold/units/<key>/`: `unit.json` (what it is), `lock` (held while somebody writes), `checkpoints/`,
`result/` (whole or absent), `progress.json`, `cost.json`, and after an error `failed.json`. Where the unit runs is not in
the key.
"""

import os
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import is_whole, set_aside
from pipeline.reproducibility import digest
from pipeline.units.store import STORE


@dataclass(frozen=True)
class Unit:
    """One piece of work: a name for people, and all that its result depends on, as JSON.

    `described` says, for people, what digests in `depends_on` stand for.
    """

    name: str
    depends_on: dict[str, Any]
    described: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """Return the digest under which the result is stored."""
        return digest(self.depends_on)[:32]

    @property
    def folder(self) -> Path:
        """Return the unit's folder in the store."""
        return STORE / self.key

    @property
    def result(self) -> Path:
        """Return the folder of the result: whole or absent."""
        return self.folder / "result"

    def is_finished(self) -> bool:
        """Return whether the result is there and undamaged; a damaged one is set aside."""
        if self.result.exists() and not is_whole(self.result):
            set_aside(self.result)
        return self.result.exists()


def link_folder(source: Path, target: Path) -> None:
    """Put a result's files under another name: by hard links where the filesystem allows, else by copies."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        (target / path.name).unlink(missing_ok=True)
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copyfile(path, target / path.name)
