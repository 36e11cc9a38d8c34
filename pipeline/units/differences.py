"""Why a unit must be computed: in what it differs from the last one of its name in the store."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors.exceptions import MachineError

if TYPE_CHECKING:
    from pipeline.units.unit import Unit

N_SHOWN = 5
# Digests say nothing to people where what they stand for is described too.
DIGESTS = {"recipe", "model", "code"}
log = logging.getLogger(__name__)


def explain(units: "Sequence[Unit]", *, store: Path, strict: bool = False) -> None:
    """Log for units that the store does not know what is new about them.

    Args:
        units: those to be computed.
        store: the folder of all units.
        strict: refuse those that differ by the class of the machine alone.

    Raises:
        MachineError: if `strict`, and a unit was begun or computed with other threads, devices or library versions.
    """
    unknown = [unit for unit in units if not (unit.folder / "unit.json").exists()]
    if not unknown:
        return
    known = _last_of_each_name(store)
    told: dict[str, list[str]] = {}
    for unit in unknown:
        if unit.name in known:
            found = list(differences(known[unit.name], {**unit.depends_on, **unit.described}))
            told.setdefault("; ".join(found[:N_SHOWN]) + ("; …" if len(found) > N_SHOWN else ""), []).append(unit.name)
            if found and all(one.startswith("numerics.") for one in found):
                _other_class(unit.name, found, strict=strict)
    for text, names in told.items():
        if text:
            log.info("%s%s: computed anew: %s", names[0], f" and {len(names) - 1} more" if names[1:] else "", text)


def _other_class(name: str, found: list[str], *, strict: bool) -> None:
    text = f"{name}: numerics class differs ({'; '.join(found)}): the result will not be bit-equal to the earlier one."
    if strict:
        raise MachineError(f"{text} Set it back, or run.strict: false.", code="E408")
    log.warning("%s", text)


def _last_of_each_name(store: Path) -> dict[str, dict[str, Any]]:
    """Return what each name's last unit was made from."""
    paths = sorted(store.glob("*/unit.json"), key=lambda path: path.stat().st_mtime_ns)
    found = {}
    for path in paths:
        try:
            unit = json.loads(path.read_text(encoding="utf-8"))
            found[unit.pop("name")] = unit
        except (OSError, ValueError, KeyError):  # damaged: it only serves people
            continue
    return found


def differences(old: Any, new: Any, *, place: str = "") -> Iterator[str]:
    """Yield `place: old → new` for each leaf that differs; digests only where nothing else does.

    >>> list(differences({"settings": {"epochs": 2}, "recipe": "a"}, {"settings": {"epochs": 3}, "recipe": "b"}))
    ['settings.epochs: 2 → 3']
    """
    found = list(_leaves(old, new, place))
    plain = [text for name, text in found if name.split(".")[0] not in DIGESTS or "." in name]
    yield from plain or [text for _, text in found]


def _leaves(old: Any, new: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from _leaves(old.get(key), new.get(key), f"{place}.{key}" if place else str(key))
    elif old != new:
        short = [json.dumps(value, ensure_ascii=False) for value in (old, new)]
        changed = " → ".join(short) if max(map(len, short)) <= 30 else "changed"
        yield place, f"{place}: {changed}" if changed != "changed" else f"{place} changed"
