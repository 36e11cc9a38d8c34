"""What a recipe starts from: the components that params name, their code, and the files that those read."""

from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline import components
from pipeline.artifacts.files import sha256_of
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import package_folder
from pipeline.params.fields import Component
from pipeline.recipes.fingerprint import code_digests
from pipeline.recipes.source_modules import Definition

MADE_AGAIN = ("restore", "stage")  # what makes a component's part of a saved model
CHECKPOINT_SUFFIXES = (".json", ".txt", ".model", ".spm", ".safetensors")
NUMERICS_START = ("pipeline.reproducibility", "fixed_numerics")  # every unit is computed within it


def named_components(value: Any) -> Iterator[Component]:
    """Yield the components named anywhere in a part of the params."""
    if isinstance(value, Component):
        yield from value.parts()
    elif isinstance(value, BaseModel):
        yield from named_components([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, dict):
        yield from named_components(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from named_components(item)


def starts_of(used: Iterable[Component]) -> list[Definition]:
    """Return where the code of components begins: their `build`, and what makes their part of a saved model again."""
    starts: set[Definition] = set()
    for component in used:
        functions = [name for name in ("build", *MADE_AGAIN) if components.has(component.kind, component.name, name)]
        starts |= {(components.module_of(component.kind, component.name), function) for function in functions}
    return sorted(starts)


def unit_code(start: Definition, used: Iterable[Component]) -> dict[str, str]:
    """Return the digests of the code of a unit's work, which uses these components."""
    return code_digests([NUMERICS_START, start, *starts_of(used)])


def source_digest(component: Component) -> dict[str, str]:
    """Return the digests of what a component reads: a hub checkpoint is named by its commit.

    Its file says by constants which options name it: `FILES`, `MODELS` (a checkpoint's folder) and `PACKAGES` (a folder in
    an installed package). Beside them stand the versions of the libraries that only this component uses: its `LIBRARIES`.

    Raises:
        ParamsError: if a library or package is not installed.
    """
    digests = library_versions([component])
    for option in component.constant("FILES") or ():
        digests |= file_digests(Path(component.options.get(option) or ""), suffixes=None)
    for option in component.constant("MODELS") or ():
        files = file_digests(Path(component.options.get(option) or ""))
        digests |= {f"{option}/{name}": sha256 for name, sha256 in files.items()}
    for option in component.constant("PACKAGES") or ():
        if component.options.get(option):
            digests |= file_digests(Path(package_folder(component.options[option])))
    return digests


def library_versions(used: Iterable[Component]) -> dict[str, str]:
    """Return the versions of the libraries that components name by their constant `LIBRARIES`.

    Raises:
        ParamsError: if one is not installed.
    """
    versions: dict[str, str] = {}
    for component in used:
        for library in component.by_option("LIBRARIES") or ():
            try:
                versions[library] = version(library)
            except PackageNotFoundError as error:
                raise ParamsError(
                    f"{component.kind}: {component.name} needs {library}. `pip install {library}`."
                ) from error
    return versions


def file_digests(path: Path, suffixes: tuple[str, ...] | None = CHECKPOINT_SUFFIXES) -> dict[str, str]:
    """Return the digests of a file, or of a folder's files with these endings (None: any); of nothing where nothing is."""
    if path == Path() or not path.exists():
        return {}
    inside = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else []
    files = [path] if path.is_file() else [file for file in inside if suffixes is None or file.suffix in suffixes]
    return {file.name: sha256_of(file) for file in files}
