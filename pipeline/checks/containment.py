"""What mends and prunes touches nothing outside the project, its store, `out/` and DVC's cache, and follows no link."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.artifacts.paths import OUT
from pipeline.units.store import STORE

PLACES = (Path(), OUT, STORE)  # `out/` and the store may be links themselves


def is_inside(path: Path, places: Sequence[Path] = PLACES) -> bool:
    """Return whether a path lies in one of the places, with no link and no `..` on the way from there to it.

    Where the path itself is a link the link counts, not what it leads to: that is what renaming and removing take.
    """
    for place in places:
        with suppress(ValueError):
            inner = path.absolute().relative_to(place.absolute())
            if inner.parts and ".." not in inner.parts and path.parent.resolve() == place.resolve() / inner.parent:
                return True
    return False


def link_before(path: Path) -> Path | None:
    """Return the first link on the way from `out/` or the store to a path; None if there is none."""
    for place in (OUT, STORE):
        if path.is_relative_to(place):
            below = [parent for parent in reversed(path.parents) if parent != place and parent.is_relative_to(place)]
            return next((parent for parent in below if parent.is_symlink()), None)
    return None


def remove(path: Path) -> None:
    """Remove a file, a folder with all in it, or of a link the link alone; what is not there is gone already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
