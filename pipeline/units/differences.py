"""Why a unit must be computed: in what it differs from the last one of its name in the store."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors.exceptions import MachineError
from pipeline.units.notes import UNIT, read_unit_note
from pipeline.units.unit import Unit

LONGEST_SHOWN = 30
# Digests say nothing to people where what they stand for is described too.
DIGESTS = {"recipe", "model", "code"}
log = logging.getLogger(__name__)


def explain(units: Sequence[Unit], *, store: Path, strict: bool = False) -> None:
    """Log for units that are to be computed what is new about them; `strict` refuses those that differ by machine alone.

    Raises:
        MachineError: if `strict`, and a unit was begun or computed with other threads, devices or library versions.
    """
    unknown = [unit for unit in units if not (unit.folder / UNIT).exists()]
    before = _last_of_each_name(store) if unknown else {}  # reading the notes of a large store takes a while
    names: dict[str, list[str]] = {}
    for unit in unknown:
        if unit.name in before:
            changes = list(differences(before[unit.name], {**unit.depends_on, **unit.described}))
            names.setdefault(shown_changes(changes), []).append(unit.name)
            if changes and all(change.startswith("numerics.") for change in changes):
                _other_class(unit.name, changes, strict=strict)
    for text, (name, *more) in names.items():
        if text:
            log.info("%s%s: computed anew: %s", name, f" and {len(more)} more" if more else "", text)


def _other_class(name: str, changes: list[str], *, strict: bool) -> None:
    difference = f"numerics class differs ({'; '.join(changes)})"
    text = f"{name}: {difference}: the result will not be bit-equal to the earlier one."
    if strict:
        raise MachineError(f"{text} Set it back, or run.strict: false.", code="E408")
    log.warning("%s", text)


def _last_of_each_name(store: Path) -> dict[str, dict[str, Any]]:
    """Return what each name's last unit was made from."""
    last: dict[str, dict[str, Any]] = {}
    for path in sorted(store.glob(f"*/{UNIT}"), key=lambda path: path.stat().st_mtime_ns):
        note: dict[str, Any] = {**read_unit_note(path.parent)}
        last[note.pop("name")] = note
    return last


def differences(old: Any, new: Any) -> Iterator[str]:
    """Yield `key: old → new` for each leaf that differs; digests only where nothing else does.

    >>> list(differences({"settings": {"epochs": 2}, "recipe": "a"}, {"settings": {"epochs": 3}, "recipe": "b"}))
    ['settings.epochs: 2 → 3']
    """
    leaves = list(_leaves(old, new, ()))
    described = [text for keys, text in leaves if DIGESTS.isdisjoint(keys[:1]) or len(keys) > 1]
    yield from described or [text for _, text in leaves]


def shown_changes(changes: Sequence[str], *, n_shown: int = 5) -> str:
    """Return the first differences on one line."""
    return "; ".join(changes[:n_shown]) + ("; …" if len(changes) > n_shown else "")


def _leaves(old: Any, new: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from _leaves(old.get(key), new.get(key), (*keys, str(key)))
    elif old != new:
        before, after = (json.dumps(value, ensure_ascii=False) for value in (old, new))
        short = max(len(before), len(after)) <= LONGEST_SHOWN
        yield keys, ".".join(keys) + (f": {before} → {after}" if short else " changed")
