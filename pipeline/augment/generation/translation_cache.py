"""What models made of texts, kept on disk so that no text goes through a model twice, over runs and workers.

A folder of small files per model, each written once, whole, and named by the sha256 of its lines: two workers never write
to the same one, and a damaged one tells by its name. Not SQLite: its write-ahead log does not work on network folders,
which workers of a cluster share, and one bad page would cost all that was kept.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pipeline.artifacts.files import sha256_of, write_atomically
from pipeline.errors.exceptions import MachineError
from pipeline.reproducibility import digest

FOLDER = Path(".stitchfold/translations")
SUFFIX = ".jsonl"
DAMAGED = ".damaged"
NAME_DIGITS = 32
READ_BY_MODELS = {".json", ".safetensors", ".spm", ".model", ".txt"}
Made = list[str | None]
log = logging.getLogger(__name__)


class TranslationCache:
    """Key -> what a model made, kept in a folder; where nothing can be written it goes on without."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[str, Made] = {}
        self._seen: set[str] = set()
        self._writes = True

    def read(self, keys: set[str]) -> dict[str, Made]:
        """Return what is known of the keys, also from what other workers have written by now."""
        if not keys <= self._made.keys():
            for path in sorted(self.folder.glob(f"*{SUFFIX}")):
                if path.name not in self._seen:
                    self._seen.add(path.name)
                    self._made.update(_read_shard(path))
        return {key: self._made[key] for key in keys & self._made.keys()}

    def add(self, made: Mapping[str, Made]) -> None:
        """Keep what was made, as one more file. A full disk is told once and costs the keeping only."""
        self._made.update(made)
        if not self._writes or not made:
            return
        lines = [json.dumps({"key": key, "made": made[key]}) for key in sorted(made)]
        content = ("\n".join(lines) + "\n").encode()
        name = hashlib.sha256(content).hexdigest()[:NAME_DIGITS] + SUFFIX
        try:
            write_atomically(self.folder / name, content)
            self._seen.add(name)
        except MachineError as error:
            self._writes = False
            log.warning("translations are no longer kept, and will be made again by the next run: %s", error)


@lru_cache(maxsize=8)
def open_cache(folder: Path) -> TranslationCache:
    """Return the cache of an absolute folder, the same one whenever this process asks."""
    return TranslationCache(folder)


def model_digest(origin: str, revision: str | None) -> str:
    """Return what a model's results are kept under: of a folder its files, of a hub checkpoint its name and commit."""
    if revision is not None:
        return digest([origin, revision])[:NAME_DIGITS]
    files = sorted(path for path in Path(origin).iterdir() if path.suffix in READ_BY_MODELS and path.is_file())
    states = [path.stat() for path in files]
    digests = [_file_digest(path, state.st_size, state.st_mtime_ns) for path, state in zip(files, states, strict=True)]
    return digest([[path.name, of_file] for path, of_file in zip(files, digests, strict=True)])[:NAME_DIGITS]


@lru_cache(maxsize=100)
def _file_digest(path: Path, size: int, changed: int) -> str:
    """Return a file's sha256, read once as long as its size and time stay."""
    return sha256_of(path)


def _read_shard(path: Path) -> dict[str, Made]:
    """Return a shard's entries; a damaged one is renamed and gives none."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:NAME_DIGITS] != path.stem:
            log.warning("%s: damaged, set aside as *%s; its texts are translated again", path, DAMAGED)
            path.rename(path.with_suffix(DAMAGED))
            return {}
    except OSError as error:  # removed by another process, or not to be read: as if it were not there
        log.warning("%s: cannot be used: %s", path, error)
        return {}
    entries = [json.loads(line) for line in content.splitlines()]
    return {entry["key"]: entry["made"] for entry in entries}
