"""What DVC cannot hash in the folders that stages depend on, which it does not say until it hangs or fails."""

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.params.problems import Problem


def check_entries(values: dict[str, Any]) -> Iterator[Problem]:
    """Yield what DVC cannot hash in the folders that stages depend on; `values` need not be right otherwise."""
    folders = {f"data/{values.get('competition')}": ("competition",), "models": ("encoders",)}
    for folder, location in folders.items():
        walk = os.walk(folder) if os.path.isdir(folder) else ()
        entries = sorted(os.path.join(root, name) for root, *names in walk for name in itertools.chain(*names))
        for must, is_right in HASHABLE.items():
            if wrong := [entry for entry in entries if not is_right(entry)]:
                first = os.fsencode(wrong[0]).decode("utf-8", "backslashreplace")
                text = (
                    f"DVC cannot hash {folder}: {must}, got {len(wrong)} others, first '{first}'. Rename or remove it."
                )
                yield Problem(location, text, "E202")


def _has_utf8_name(path: str) -> bool:
    try:
        return bool(os.fsencode(path).decode("utf-8"))
    except UnicodeDecodeError:
        return False


HASHABLE: dict[str, Callable[[str], bool]] = {
    "names in it must be UTF-8": _has_utf8_name,
    "it must hold no .dvcignore (move its lines to ./.dvcignore)": lambda path: os.path.basename(path) != ".dvcignore",
    "it must hold files and folders": lambda path: os.path.isfile(path) or os.path.isdir(path),
}
