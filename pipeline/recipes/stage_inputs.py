"""What a stage reads: noted when it begins, compared when it ends, and kept beside its outs for `stitchfold verify`.

DVC hashes params and files after a stage's command. What was edited meanwhile it would record as that from which the old
result was made, and so take a stale result for a new one, for ever, since its run-cache gives it back.
"""

import ast
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.artifacts.files import MANIFEST, sha256_of, write_atomically
from pipeline.artifacts.paths import OUT, inputs_path
from pipeline.errors.exceptions import DataError
from pipeline.params.loading import PARAMS_FILE
from pipeline.params.root import Params
from pipeline.params.yaml_source import plain, read_yaml
from pipeline.recipes.fingerprint import NOT_FOLLOWED
from pipeline.recipes.source_modules import PACKAGES, ROOT, is_docstring
from pipeline.reproducibility import digest

DVC_FILE = Path("dvc.yaml")
WEIGHTS = "models"  # read only in part, and by recipes alone, which have their digests
SIDECAR = ".sha256"
N_SHOWN = 5


@dataclass(frozen=True)
class Inputs:
    """What dvc.yaml lets a stage read: each value of its params, as JSON by its dotted key, and the digest of each file."""

    params: dict[str, str]
    files: dict[str, str]

    def changes(self, now: "Inputs") -> Iterator[str]:
        """Yield in words what is another today; what came since was not read.

        >>> list(Inputs({"seed": "1", "a.b": "2"}, {"x.csv": "0f"}).changes(Inputs({"seed": "1", "a.b": "5"}, {})))
        ['params.yaml a.b: 2 → 5', 'x.csv is gone']
        """
        for key in sorted(self.params | now.params):
            old, new = (some.params.get(key, "absent") for some in (self, now))
            if old != new:
                yield f"{PARAMS_FILE} {key}: {old} → {new}"
        for file, known in self.files.items():
            if now.files.get(file) != known:
                yield f"{file} {'has another content' if file in now.files else 'is gone'}"


@dataclass(frozen=True)
class Declared:
    """The keys of params.yaml, and the files and folders, that dvc.yaml lets a stage read."""

    params: list[str]
    deps: list[str]

    def read(self) -> Inputs:
        """Return them as they are now."""
        values = _read_params()
        params = {leaf: value for key in self.params for leaf, value in _values(values, key)}
        files = {str(file): _digest_of(file) for dep in self.deps for file in _files_of(Path(dep))}
        return Inputs(params, {file: known for file, known in files.items() if known is not None})


@contextmanager
def steady_inputs() -> Iterator[None]:
    """Do the work of a stage that DVC runs; then note what it read, or fail if that is not what DVC is about to record.

    Raises:
        DataError: if params, data or code were edited meanwhile.
    """
    stage = os.environ.get("DVC_STAGE", "")
    declared = declared_by(stage)
    if declared is None:  # by hand nothing is recorded
        yield
        return
    before, weights = declared.read(), _weight_states() if WEIGHTS in declared.deps else {}
    yield
    changes = list(before.changes(declared.read()))
    now = _weight_states() if weights else {}
    changes += [f"{file} was written" for file, state in weights.items() if now.get(file) != state]
    if changes:
        shown = "; ".join(changes[:N_SHOWN]) + ("; …" if len(changes) > N_SHOWN else "")
        raise DataError(
            f"stage {stage}: what it reads must stay as it is while it runs, got {shown}. Its result is that of before, and "
            "DVC would record it as that of now: nothing was recorded. Run dvc repro, which finds finished units again.",
            code="E312",
        )
    refuse_edited_code()
    write_atomically(inputs_path(stage), (json.dumps(asdict(before), indent=1, sort_keys=True) + "\n").encode())


def refuse_edited_code() -> None:
    """Refuse to go on under DVC when code that this process loaded is not that of which the recipes, and keys, are made.

    A comment or a docstring is no code. Of packages that decide nothing that comes out any version will do.

    Raises:
        DataError: with the files that were edited since.
    """
    known = noted_inputs("recipes") if "DVC_STAGE" in os.environ else None
    if known is None:
        return
    edited = [file for file in sorted(_loaded_code()) if known.files.get(file) != _digest_of(ROOT / file)]
    if edited:
        more = f" (and in {len(edited) - 1} more files)" if edited[1:] else ""
        raise DataError(
            f"{edited[0]}: must stay as it was when stage recipes read it until dvc repro has ended, got other code{more}. "
            "Nobody can tell which of the two made this result, so it is not kept. Run dvc repro: what the edit does not "
            "reach goes on from its checkpoints.",
            code="E312",
        )


def declared_by(stage: str) -> Declared | None:
    """Return what dvc.yaml says that a stage reads, as DVC resolves it; None where it knows no such stage."""
    name, _, key = stage.partition("@")
    stages = YAML(typ="safe").load(DVC_FILE.read_text(encoding="utf-8"))["stages"] if DVC_FILE.exists() else {}
    if name not in stages:
        return None
    known = stages[name].get("do", stages[name])
    competition = str(_read_params().get("competition"))
    filled = {
        kind: [text.replace("${key}", key).replace("${competition}", competition) for text in known[kind]]
        for kind in ("params", "deps")
    }
    return Declared(**filled)


def noted_inputs(stage: str) -> Inputs | None:
    """Return what the last run of a stage noted; None where there is no note, or no readable one."""
    try:
        note = json.loads(inputs_path(stage).read_text(encoding="utf-8"))
        return Inputs(dict(note["params"]), dict(note["files"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _read_params() -> dict[str, Any]:
    values: dict[str, Any] = plain(read_yaml(PARAMS_FILE, sections=list(Params.model_fields)))
    return values


def _weight_states() -> dict[str, str]:
    """Return size and time of each file below `models/`: too large to be read twice more."""
    files = (Path(folder, name) for folder, _, names in os.walk(WEIGHTS) for name in names)
    states = {str(file): file.stat() for file in files if file.is_file()}
    return {file: f"{state.st_size} {state.st_mtime_ns}" for file, state in states.items()}


def _values(values: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the JSON of each value below a key."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    yield from _leaves(values, key)


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}")
    else:
        yield key, json.dumps(value, ensure_ascii=False, default=str)


def _files_of(dep: Path) -> Iterator[Path]:
    """Yield the files of a dependency that stand for all of it, without hidden ones, which no stage reads.

    A fold model's manifest stands for the model: it has the digests of its files, and whoever reads them compares.
    """
    if dep.is_file():
        yield dep
    for folder, subfolders, names in os.walk(dep):
        if MANIFEST in names and dep.is_relative_to(OUT):
            subfolders[:], names[:] = [], [MANIFEST]
        subfolders[:] = sorted(name for name in subfolders if not name.startswith((".", "__pycache__")))
        files = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
        yield from (file for file in files if file.is_file() and str(dep) != WEIGHTS and file.suffix != ".pyc")


def _digest_of(file: Path) -> str | None:
    """Return a file's digest; an artifact's is the one beside it, with which every reader compares it."""
    try:
        sidecar = file.with_name(file.name + SIDECAR)
        if file.is_relative_to(OUT) and sidecar.exists():
            return sidecar.read_text(encoding="utf-8", errors="replace").partition(" ")[0]
        state = file.stat()
        return _content_digest(file, state.st_size, state.st_mtime_ns)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=10_000)
def _content_digest(file: Path, size: int, changed: int) -> str:
    """Return the digest of what a file says: of code without comments and docstrings. Read once while size and time stay."""
    if file.suffix == ".py":
        try:
            return _code_digest(file)
        except (SyntaxError, ValueError):
            pass  # somebody is writing it
    return sha256_of(file)


def _code_digest(file: Path) -> str:
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not is_docstring(part)]
    return digest(ast.dump(tree))


def _loaded_code() -> set[str]:
    """Return the files of this project that this process has loaded, without those of packages that no key follows."""
    folders = [str(Path(*package.split("."))) + os.sep for package in NOT_FOLLOWED]
    files = [Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))]
    ours = [str(file.relative_to(ROOT)) for file in files if file.suffix == ".py" and file.is_relative_to(ROOT)]
    return {file for file in ours if file.startswith(PACKAGES) and not file.startswith(tuple(folders))}
