"""The audit of inputs, `STITCHFOLD_AUDIT=1 dvc repro`: whether a stage reads only what dvc.yaml declares for it.

Every file that Python opens for reading below the project, every host and every key of the params is noted, in workers
too, and compared at the stage's end with its deps, params and outs. Libraries in C++ and Rust open files unnoticed: what
they read here was hashed in Python before. Code and models are declared by the stage's recipe.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.artifacts.paths import ABLATIONS, INPUTS, LAST_ERROR
from pipeline.errors.exceptions import ParamsError
from pipeline.params.fields import Section
from pipeline.params.root import Params

FOLDER = Path(".stitchfold/audit")
# What has a say in no result, or has it through DVC itself. Ablations may be absent: DVC cannot depend on them.
FREE = (*map(Path, (".stitchfold", ".dvc", "dvc.yaml", "dvc.lock", "params.yaml")), LAST_ERROR, ABLATIONS, INPUTS)
CODE = (".py", ".pyc")
METADATA = (".egg-info", ".dist-info")  # of what is installed: that of this project lies beside its code
LOOPBACK = ("localhost", "127.0.0.1", "::1")
RUN = "run"  # nobody's dependency: it changes nothing that comes out
WHOLE = {"model_dump", "model_dump_json", "model_copy", "__iter__", "__reduce_ex__"}  # these read all keys at once
NAMES = ".*"  # after a key: only the names below it were looked at
HOST = "//"
# A recipe holds the metrics that choose epochs; the table holds the tasks' names.
BY_RECIPE = {"finetune": re.compile(r"tasks\.(\*|[^.]+\.metric\b.*)")}
_keys: set[str] = set()
_key_of: dict[int, str] = {}  # the key of each section, by its identity
_watched: list[Params] = []  # as long as they live, no other section has the identity of one of theirs


@contextmanager
def declared_inputs() -> Iterator[None]:
    """Do a stage's work and refuse what it read beyond what it declares; do nothing more unless inputs are audited.

    Raises:
        ParamsError: with every undeclared input, one a line.
    """
    if not is_on():
        yield
        return
    _log().unlink(missing_ok=True)
    note_opened_files()
    yield
    stage = os.environ["DVC_STAGE"]
    problems = [f"dvc.yaml: stage {stage} must declare what it reads, got {problem}" for problem in _undeclared(stage)]
    if problems:
        raise ParamsError("\n".join(problems), code="E205")


def is_on() -> bool:
    """Return whether inputs are audited: asked for, and in a stage that DVC runs."""
    return os.environ.get("STITCHFOLD_AUDIT") == "1" and "DVC_STAGE" in os.environ


@cache
def note_opened_files() -> None:
    """From now on note what this process opens for reading below the project and where it connects to, if audited."""
    if not is_on():
        return
    _log().parent.mkdir(parents=True, exist_ok=True)
    # Workers append to the same file; one write of a line stays whole.
    log = os.open(_log(), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    root = f"{Path.cwd()}{os.sep}"

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path, flags = os.path.abspath(os.fsdecode(arguments[0])), arguments[2] or 0
            if flags & os.O_ACCMODE != os.O_WRONLY and path.startswith(root):
                os.write(log, os.fsencode(f"{path.removeprefix(root)}\n"))
        elif event in ("socket.connect", "socket.getaddrinfo"):
            host = arguments[0] if event == "socket.getaddrinfo" else arguments[1][0]
            if isinstance(host, str) and host not in LOOPBACK:
                os.write(log, os.fsencode(f"{HOST}{host}\n"))

    sys.addaudithook(note)


def watched(params: Params) -> Params:
    """Return the params; if inputs are audited, note from now on which of their keys are read."""
    if is_on():
        _watched.append(params)
        _note_keys(params, "")
        setattr(Section, "__getattribute__", _read)  # noqa: B010
    return params


def _note_keys(value: Any, key: str) -> None:
    """Write down the key of every section; those in a list have the list's."""
    if isinstance(value, Section):
        _key_of[id(value)] = key
        value = {name: vars(value)[name] for name in type(value).model_fields}
    for name, item in value.items() if isinstance(value, dict) else ():
        _note_keys(item, f"{key}.{name}".lstrip("."))
    for item in value if isinstance(value, list) else ():
        _note_keys(item, key)


def _read(section: Section, name: str) -> Any:
    """Stand in for `Section.__getattribute__`: of a section, reading it reads nothing yet; of a mapping, the names."""
    value = object.__getattribute__(section, name)
    key = _key_of.get(id(section))
    if key is None:
        return value
    fields = type(section).model_fields
    if name in WHOLE:
        _keys.update([key] if key else [field for field in fields if field != RUN])
    elif name in fields and not isinstance(value, Section):
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        has_sections = any(isinstance(item, Section) for item in inner)
        _keys.add(f"{key}.{name}".lstrip(".") + NAMES * has_sections)
    return value


def _undeclared(stage: str) -> Iterator[str]:
    """Yield in words what was noted and is not declared."""
    noted, keys = _noted(), sorted(_keys)  # before DVC, which reads files too
    declared_files, declared_keys = _declared(stage)
    for host in sorted(line.removeprefix(HOST) for line in noted if line.startswith(HOST)):
        yield f"the host {host}. Fetch what it gives beforehand, and set HF_HUB_OFFLINE=1."
    files = sorted(Path(line) for line in noted if not line.startswith(HOST))
    unknown = [path for path in files if path.is_file() and not _is_below(path, declared_files)]
    covered = _files_of_recipe(stage) if unknown else set()
    yield from (f"the file {path}. Add it to deps." for path in unknown if str(path) not in covered)
    pattern = BY_RECIPE.get(stage.partition("@")[0])
    for key in keys:
        by_recipe = pattern is not None and pattern.fullmatch(key)
        if not by_recipe and not _is_among(key, [RUN, *declared_keys]):
            yield f"the key {key.removesuffix(NAMES)}. Add it to params."


def _declared(stage: str) -> tuple[list[Path], list[str]]:
    """Return the files and folders, and the keys, that dvc.yaml lets a stage read, as DVC itself resolves it."""
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    with Repo() as repo:
        [declared] = repo.stage.collect(stage)
        params = [dependency for dependency in declared.deps if isinstance(dependency, ParamsDependency)]
        files = [Path(item.fs_path) for item in (*declared.deps, *declared.outs) if item not in params]
    return [path.relative_to(Path.cwd()) for path in files], [key for part in params for key in part.params]


def _is_below(path: Path, declared: list[Path]) -> bool:
    """Return whether a file is declared or needs no declaration.

    >>> [_is_below(Path(file), [Path("data/x")]) for file in ("data/x/a.csv", "data/y/a.csv", "x.egg-info/entry_points.txt")]
    [True, False, True]
    """
    installed = Path.cwd().joinpath(path).is_relative_to(sys.prefix) or path.parent.suffix in METADATA
    if installed or path.suffix in CODE:
        return True
    artifact = path.with_name(path.name.removesuffix(".sha256"))  # beside each artifact lies its digest
    return any(artifact.is_relative_to(folder) for folder in (*FREE, *declared))


def _is_among(key: str, declared: list[str]) -> bool:
    """Return whether a key is declared.

    >>> [_is_among(key, ["encoders.bert"]) for key in ("encoders.bert.head", "encoders.*", "encoders", "encoders.bertha")]
    [True, True, False, False]
    """
    whole = key.removesuffix(NAMES)
    return any(f"{whole}.".startswith(f"{k}.") or (whole != key and k.startswith(f"{whole}.")) for k in declared)


def _files_of_recipe(stage: str) -> set[str]:
    """Return the files for whose content the stage's recipe stands: those that are read to make it."""
    from pipeline.recipes.stage_recipes import encoder_recipe, stage_recipe

    _log().write_bytes(b"")
    name, _, encoder = stage.partition("@")
    for params in _watched:
        if encoder:
            encoder_recipe(params, encoder)
        else:
            stage_recipe(params, name)
    return _noted()


def _log() -> Path:
    return FOLDER / f"{os.environ['DVC_STAGE']}.txt"


def _noted() -> set[str]:
    return set(os.fsdecode(_log().read_bytes()).splitlines())
