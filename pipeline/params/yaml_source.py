"""YAML 1.2 with line numbers, and the words in which a problem with a key is told."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from pipeline.errors.exceptions import ParamsError

MAX_VALUES = 100_000
MAX_DEPTH = 50


def read_yaml(path: Path, *, sections: list[str]) -> Any:
    """Return the file as ruamel's round-trip mapping, which knows the line of each key.

    Raises:
        ParamsError: if there is no such file, or it is not a YAML 1.2 mapping of a sensible size.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ParamsError(
            f"{path}: no such file. Run from the repository's root, or copy one from competitions/."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: must be a file in UTF-8, got: {error}. Save it as UTF-8.") from error
    try:
        raw = YAML(typ="rt").load(text)
    # ruamel lets what it stumbles over in strange documents come out as it is.
    except (YAMLError, ValueError, TypeError, AttributeError, LookupError, AssertionError, RecursionError) as error:
        raise ParamsError(_yaml_problem(path, error)) from error
    if not isinstance(raw, dict):
        raise ParamsError(
            f"{path}:1: must be a mapping with the sections {sections}, got {type(raw).__name__}. "
            "Copy a params.yaml from competitions/."
        )
    refuse_bomb(raw, path)
    return raw


def _yaml_problem(path: Path, error: Exception) -> str:
    """Return in one line what the parser says in many."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    fault = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return f"{where}: is not valid YAML 1.2: {fault}. Mend this line or the one above: blanks, no tabs; each key once."


def refuse_bomb(raw: Any, path: Path) -> None:
    """Refuse aliases that unfold into more than a person writes.

    Raises:
        ParamsError: if they do, with the line of the section in which the limit is passed.
    """
    n_values = 0
    for section, inner in raw.items() if isinstance(raw, dict) else ():
        open_nodes = [(inner, 1)]
        while open_nodes:
            node, depth = open_nodes.pop()
            n_values += 1
            if n_values > MAX_VALUES or depth > MAX_DEPTH:
                raise ParamsError(
                    f"{path}:{line_of(raw, (section,))} {dotted((section,))}: must hold at most {MAX_VALUES} values, "
                    f"{MAX_DEPTH} levels deep, aliases (*name) unfolded, got more. Remove the aliases that multiply: dvc, "
                    "which reads this file first, would unfold them without an end."
                )
            children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
            open_nodes += [(child, depth + 1) for child in children]


def plain(value: Any) -> Any:
    """Return ruamel's round-trip values as plain Python ones."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, ScalarBoolean):
        return bool(value)
    return next((base(value) for base in (bool, int, float, str) if isinstance(value, base)), value)


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


def in_a_line(text: str) -> str:
    """Return a text with what would break its line, or show as nothing, written out.

    >>> in_a_line("data/\\x1e/公园")
    'data/\\\\x1e/公园'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def dotted(location: tuple[Any, ...]) -> str:
    """Return a key path as people write it.

    >>> dotted(("encoders", "bert", "loss"))
    'encoders.bert.loss'
    """
    parts = [str(part) if str(part).isprintable() else repr(part) for part in location]
    return ".".join(parts) or "(top level)"
