"""YAML 1.2 with line numbers, and the words in which a problem with a key is told."""

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.exceptions import ParamsError


def read_yaml(path: Path, *, sections: list[str]) -> Any:
    """Return the file as ruamel's round-trip mapping, which knows the line of each key.

    Raises:
        ParamsError: if there is no such file, or it is not a YAML 1.2 mapping.
    """
    try:
        raw = YAML(typ="rt").load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ParamsError(
            f"{path}: no such file. Run from the repository's root, or copy one from competitions/."
        ) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: is not valid YAML 1.2. {error}") from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{path}: must be a mapping with the sections {sections}, got {type(raw).__name__}.")
    return raw


def plain(value: Any) -> Any:
    """Return ruamel's round-trip values as plain Python ones."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    for base in (bool, int, float, str):
        if isinstance(value, base):
            return base(value)
    return value


def line_of(raw: Any, location: tuple[Any, ...]) -> int:
    """Return the 1-based line of a key, or of its nearest parent."""
    line, node = 1, raw  # type: int, Any
    for part in location:
        try:
            position = node.lc.key(part) if hasattr(node, "items") else node.lc.item(part)
            line, node = position[0] + 1, node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


def dotted(location: tuple[Any, ...]) -> str:
    """Return a key path as people write it.

    >>> dotted(("encoders", "bert", "loss"))
    'encoders.bert.loss'
    """
    return ".".join(str(part) for part in location) or "(top level)"


def expected(value: Any, known: Collection[str]) -> str:
    """Say what was got, what could have been, and what was perhaps meant.

    >>> expected("focall", ["focal", "cross_entropy"])
    "got 'focall', expected one of ['cross_entropy', 'focal']. Did you mean 'focal'?"
    """
    close = difflib.get_close_matches(str(value), list(known), n=1)
    return f"got {value!r}, expected one of {sorted(known)}." + (f" Did you mean {close[0]!r}?" if close else "")
