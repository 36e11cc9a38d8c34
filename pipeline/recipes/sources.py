"""What a recipe starts from: the components that params name, and the files that those read."""

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline import components
from pipeline.errors.exceptions import ParamsError
from pipeline.params.fields import Component
from pipeline.recipes.source_modules import Definition

CHECKPOINT_SUFFIXES = (".json", ".txt", ".model", ".spm", ".safetensors")


def named_components(value: Any) -> Iterator[Component]:
    """Yield the components named anywhere in a part of the params."""
    if isinstance(value, Component):
        yield value
    elif isinstance(value, BaseModel):
        yield from named_components([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, dict):
        yield from named_components(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from named_components(item)


def _starts(used: Iterable[Component]) -> list[Definition]:
    used = list(used)
    starts = {(components.module_of(one.kind, one.name), "build") for one in used}
    return sorted(
        starts | {(components.module_of(one.kind, one.name), "restore") for one in used if one.kind == "encoders"}
    )


def _source_digest(source: Component) -> dict[str, str]:
    """Return the digests of the files of a local checkpoint, or of a single file; a hub checkpoint is named by its commit.

    Beside them stand the versions of the libraries that only this source uses: its `LIBRARIES`.
    """
    options: dict[str, Any] = source.options
    digests: dict[str, str] = {}
    for library in components.constant(source.kind, source.name, "LIBRARIES") or ():
        try:
            digests[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError as error:
            raise ParamsError(f"source: {source.name} needs {library}. `pip install {library}`.") from error
    for option in components.constant(source.kind, source.name, "FILES") or ():
        digests |= _file_digests(Path(options.get(option) or ""), suffixes=None)
    digests |= _file_digests(Path(options.get("path") or ""))
    for option in components.constant(source.kind, source.name, "MODELS") or ():
        digests |= {f"{option}/{name}": one for name, one in _file_digests(Path(options.get(option) or "")).items()}
    if options.get("package"):
        name, _, inner = options["package"].partition("/")
        spec = importlib.util.find_spec(name)
        if spec and spec.submodule_search_locations:
            digests |= _file_digests(Path(spec.submodule_search_locations[0]) / inner)
    return digests


def _file_digests(place: Path, suffixes: tuple[str, ...] | None = CHECKPOINT_SUFFIXES) -> dict[str, str]:
    """Return the digests of a file, or of a folder's files with these endings (None: any); of nothing where nothing is."""
    if place == Path() or not place.exists():
        return {}
    inside = sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else []
    files = [place] if place.is_file() else [one for one in inside if suffixes is None or one.suffix in suffixes]
    digests = {}
    for path in files:
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
