"""What in `.stitchfold` no params file of the tree needs, with what made it, and its removal."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.augment.generation.translation_cache import FOLDER, model_digest
from pipeline.checks import containment
from pipeline.checks.needs import find_needs, part_of, read_files
from pipeline.errors.exceptions import ParamsError
from pipeline.model_sources import locate
from pipeline.number_formats import size_text
from pipeline.units.differences import differences, shown_changes
from pipeline.units.stage import PARAMS, Request, read_requests
from pipeline.units.store import REMOVED, STORE, StoredUnit, disk_usage, if_free, set_aside_folders, stored_units

COMPETITIONS = Path("competitions")


@dataclass(frozen=True)
class Spare:
    """Something that can go: a unit, a damaged folder set aside, translations of a model that nobody names."""

    folder: Path
    text: str


@dataclass(frozen=True)
class Verdict:
    """What is needed, what is kept because nobody knows, and what can go."""

    files: list[Path]
    needed: list[StoredUnit]
    unsure: list[tuple[StoredUnit, str]]
    unfinished: list[str]
    """What was begun among those kept because nobody knows, and under which params."""
    spare: list[Spare]

    def lines(self) -> Iterator[str]:
        """Yield the verdict for people."""
        yield f"needed      {_units(self.needed)} by {', '.join(map(str, self.files))} or out/"
        for reason in dict.fromkeys(why for _, why in self.unsure):
            yield f"kept        {_units([unit for unit, why in self.unsure if why == reason])}: {reason}"
        yield from (f"            {text}" for text in self.unfinished)
        if self.unsure:
            yield "            (dvc repro --force --single-item <stage> makes that known and computes no finished unit again)"
        for spare in self.spare:
            yield f"not needed  {size_text(disk_usage([spare.folder])[0]):>9}  {spare.text}"


def judge(paths: list[Path], *, translations: bool = False) -> Verdict:
    """Return what of the store is needed by params.yaml, competitions/*/params.yaml and further params files.

    With `translations` those are judged too; they are spare if no file names their model.

    Raises:
        ParamsError: if a file cannot be read: nobody would know what it needs.
        MachineError: if a history in `out/` is damaged.
    """
    present = [*([PARAMS] if PARAMS.exists() else []), *sorted(COMPETITIONS.glob("*/params.yaml")), *paths]
    files, requests, units = read_files(dict.fromkeys(present)), read_requests(), stored_units()
    needs = find_needs(files, requests, units)
    needed = [unit for unit in units if unit.key in needs.needed or unit.state == "running"]
    rest = [unit for unit in units if unit not in needed]
    unsure = [(unit, needs.unsure[unit.key]) for unit in rest if unit.key in needs.unsure]
    spare = [Spare(unit.folder, _describe(unit, files, requests)) for unit in rest if unit.key not in needs.unsure]
    noted = {key for request in requests for key in request.units}
    begun = [unit for unit, _ in unsure if unit.state != "finished" and unit.key in noted]
    unfinished = [_describe(unit, files, requests) for unit in begun]
    for unit in (*needed, *(unit for unit, _ in unsure)):
        damaged = set_aside_folders(unit.folder)
        inside = [path for path in damaged if containment.is_inside(path)]
        spare += [Spare(path, f"{unit.name}: damaged, set aside as {path.name}") for path in inside]
    if translations:
        named = set(_models(files))
        unnamed = [path for path in sorted(FOLDER.glob("*")) if path.name not in named]
        spare += [Spare(path, f"{path}: of a model that no params file names") for path in unnamed]
    return Verdict(list(files), needed, unsure, unfinished, spare)


def remove(verdict: Verdict) -> tuple[int, list[Spare]]:
    """Remove what can go, and the notes of runs of which nothing is left.

    Returns:
        The bytes that this freed, and what a run has taken up in the meantime and is left alone.
    """
    freed = disk_usage([spare.folder for spare in verdict.spare])[1]
    taken = []
    for spare in verdict.spare:
        folder = next((path for path in (spare.folder, *spare.folder.parents) if path.parent == STORE), spare.folder)
        with if_free(folder) as free:
            if not free:
                taken.append(spare)
                continue
            gone = spare.folder.with_name(f"{REMOVED}{spare.folder.name}")  # a folder half removed must not be found
            spare.folder.rename(gone)
        containment.remove(gone)
    left = {unit.key for unit in stored_units()}
    for request in read_requests():
        if left.isdisjoint(request.units):
            request.path.unlink()
    return freed - disk_usage([spare.folder for spare in taken])[1], taken


def _describe(unit: StoredUnit, files: Mapping[Path, dict[str, Any]], requests: list[Request]) -> str:
    """Say what a unit is and which params made it, as far as they differ from today's."""
    request = [request for request in requests if unit.key in request.units][-1]
    state = {"interrupted": f"interrupted at step {unit.step}", "begun": "begun"}.get(unit.state, unit.state)
    head = f"{request.units[unit.key]}  {state}  "
    competition, stage = request.params.get("competition"), request.stage
    path = next((path for path, params in files.items() if params.get("competition") == competition), None)
    if path is None:
        return f"{head}of the competition {competition}, of which there is no params file"
    today = part_of(files[path], stage)
    if today is None:
        return f"{head}{stage.name} is no longer in {path}"
    changes = list(differences(part_of(request.params, stage), today))
    if not changes:
        return f"{head}other code, data or machine than the last run under {path}"
    return f"{head}made under other params than today's {path}: {shown_changes(changes, n_shown=4)}"


def _units(units: list[StoredUnit]) -> str:
    return f"{len(units):>4} units  {size_text(disk_usage([unit.folder for unit in units])[0]):>9}"


def _models(files: Mapping[Path, dict[str, Any]]) -> Iterator[str]:
    """Yield under which names the translations of the models lie that augment's steps name."""
    for text in (text for params in files.values() for text in _texts(params.get("augment"))):
        with suppress(ParamsError):  # not a model
            yield model_digest(*locate(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
