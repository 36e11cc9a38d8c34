"""Every digest of the project computed anew: artifacts, fold models, units, dvc.lock, DVC's cache, and the submission.

The exit code of `dvc repro` is no proof: DVC takes files of unchanged size and time for what they were.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
from dvc.repo import Repo
from dvc_data.hashfile.build import IgnoreInCollectedDirError

from pipeline.artifacts import files
from pipeline.artifacts.files import MANIFEST, is_whole, json_bytes, sha256_of
from pipeline.artifacts.paths import FOLDS, OUT, READOUT, RECIPES, SUBMISSION, encoder_recipe_path, inputs_path
from pipeline.checks import dvc_state
from pipeline.checks.dvc_state import Md5
from pipeline.errors.exceptions import MachineError, PipelineError
from pipeline.models.adapted import ADAPTER, base_problem
from pipeline.params.loading import load_params
from pipeline.recipes.stage_inputs import N_SHOWN, declared_by, noted_inputs
from pipeline.recipes.stage_recipes import encoder_recipe, stage_recipe
from pipeline.report.leaks import find_leaks
from pipeline.submit.submissions import validate_submissions
from pipeline.units.budget import without_left_out
from pipeline.units.store import StoredUnit, checkpoints, stored_units


class Remedy(Enum):
    """Who puts something right, and how to ask for it."""

    DOCTOR = "Run stitchfold doctor --fix, then dvc repro."
    REPRO = "Run dvc repro."


@dataclass(frozen=True)
class Checked:
    """One thing that was compared; if something is wrong with it what that is and, where that is known, the remedy."""

    path: Path
    problem: str | None = None
    remedy: Remedy | None = None

    @property
    def text(self) -> str:
        """The problem for people: *what must hold, got what. What to do.*"""
        return f"{self.problem}. {self.remedy.value}" if self.remedy else str(self.problem)


def verify() -> Iterator[Checked]:
    """Yield everything that carries a digest, as it is compared.

    Raises:
        MachineError: if a DVC is at work here: its files change.
    """
    repo, md5 = dvc_state.open_project(), Md5()
    if repo is not None and (process := dvc_state.busy(repo)) is not None:
        raise MachineError(
            f"{OUT}: must not change while it is verified, but dvc is at work (process {process or 'unknown'}). "
            "Run stitchfold verify when it has ended."
        )
    yield from check_artifacts()
    yield from check_fold_models()
    for unit in stored_units():
        if unit.state != "running":
            yield from check_unit(unit)
    if repo is not None:
        yield from check_objects(repo, md5)
        yield from check_lock(repo, md5)
    yield from check_manifests()
    yield from check_submission()
    yield from check_leaks()


def check_artifacts() -> Iterator[Checked]:
    """Compare each artifact with the sha256 beside it."""
    for sidecar in sorted(OUT.rglob("*.sha256")):
        path = sidecar.with_suffix("")
        try:
            files.verify(path)
            yield Checked(path)
        except MachineError:
            yield Checked(path, "does not match its .sha256", Remedy.DOCTOR)


def _compared(path: Path, whole: bool, problem: str) -> Checked:
    """Return what is right, or else what was damaged since it was written."""
    return Checked(path) if whole else Checked(path, problem, Remedy.DOCTOR)


def check_fold_models() -> Iterator[Checked]:
    """Compare the files of each fold model in `out/` with its manifest, and the base of its adapter with what that names."""
    for manifest in sorted(OUT.glob(f"*/*/models/*/{MANIFEST}")):
        folder = manifest.parent
        yield _compared(folder, whole := is_whole(folder), "does not match its manifest")
        readout = folder / READOUT
        adapter = json.loads(readout.read_text(encoding="utf-8")).get(ADAPTER) if whole and readout.is_file() else None
        if adapter is not None:
            yield Checked(folder, base_problem(adapter))


def check_unit(unit: StoredUnit) -> Iterator[Checked]:
    """Compare a unit's result and checkpoints with their manifests."""
    for folder in (*([unit.result] if unit.result.exists() else []), *checkpoints(unit.folder)):
        yield _compared(folder, is_whole(folder), f"({unit.name}) does not match its manifest")


def check_objects(repo: Repo, md5: Md5) -> Iterator[Checked]:
    """Compare each object of DVC's cache with its name, which is the md5 of its content."""
    for path, digest in dvc_state.cached_objects(repo):
        if md5(path) == digest and path.suffix == ".dir" and dvc_state.list_leaves(path):
            yield Checked(path, "lists files outside the folder that it stands for", Remedy.DOCTOR)
        else:
            yield _compared(path, md5(path) == digest, "is damaged, and DVC trusts its cache")


def check_lock(repo: Repo, md5: Md5) -> Iterator[Checked]:
    """Compare the outs, and what they were made from, with dvc.lock."""
    if problem := dvc_state.lock_file_problem():
        yield Checked(dvc_state.LOCK_FILE, problem, Remedy.DOCTOR)
        return
    yield from check_outs(repo, md5)
    try:
        stale = dvc_state.stale_stages(repo)
    except IgnoreInCollectedDirError as error:
        yield Checked(
            dvc_state.LOCK_FILE, f"cannot be compared with the stages' inputs: {error}. Move it to the project's root"
        )
        return
    for stage, why in stale.items():
        yield Checked(Path(stage), f"is older than its inputs ({why})", Remedy.REPRO)
    yield from check_inputs({stage.addressing for stage in repo.index.stages} - stale.keys())
    if "recipes" not in stale:
        yield from check_recipes()


def check_outs(repo: Repo, md5: Md5) -> Iterator[Checked]:
    """Compare the files of the outs with dvc.lock, which must be readable."""
    for path, digest in dvc_state.locked_files(repo):
        if not path.exists():
            yield Checked(path, "is in dvc.lock and not on disk", Remedy.REPRO)
        elif digest is None:
            yield Checked(path, "is not what dvc.lock or DVC's cache know", Remedy.REPRO)
        else:
            yield _compared(path, md5(path) == digest, "has another md5 than in dvc.lock (damaged, or edited)")


def check_inputs(stages: Collection[str]) -> Iterator[Checked]:
    """Compare what stages, which DVC takes for up to date, noted as read with what they would read today."""
    for stage in sorted(stages):
        noted, path = noted_inputs(stage), inputs_path(stage)
        if noted is not None and (declared := declared_by(stage)) is not None:
            changes = "; ".join(islice(noted.changes(declared.read()), N_SHOWN))
            again = f"dvc repro --force --single-item {stage}, then dvc repro"
            problem = f"{stage} was made from other inputs than dvc.lock says ({changes}). Run {again}."
            yield Checked(path, problem if changes else None)


def check_recipes() -> Iterator[Checked]:
    """Compare each recipe, which DVC takes for up to date, with what params, code and files give today."""
    try:
        params = load_params()
        recipes = [(encoder_recipe_path(name), partial(encoder_recipe, params, name)) for name in params.encoders]
        paths = list(RECIPES.glob("stages/*.json"))
        recipes += [(path, partial(stage_recipe, params, path.stem)) for path in sorted(paths)]
        for path, make in recipes:
            same = path.exists() and json_bytes(make()) == path.read_bytes()
            problem = "is not the recipe of today's code, params and files, as dvc.lock has it. Run "
            yield Checked(path, None if same else f"{problem}dvc repro --force recipes, then dvc repro.")
    except PipelineError as error:
        yield Checked(RECIPES, f"recipes cannot be made: {error}")


def check_manifests() -> Iterator[Checked]:
    """Compare the fold manifest that each table was made from with today's."""
    today = sha256_of(FOLDS) if FOLDS.exists() else ""
    for path in sorted(OUT.rglob("*.parquet")) if today else ():
        try:
            metadata = pq.read_schema(path).metadata or {}
            made_from = json.loads(metadata.get(b"stitchfold", b"{}")).get("manifest", today)
        except (OSError, ValueError) as error:
            yield Checked(path, f"cannot be read ({error})", Remedy.DOCTOR)
            continue
        problem = None if made_from == today else f"was made from other folds ({made_from[:12]}…)"
        yield Checked(path, problem, Remedy.REPRO if problem else None)


def check_submission() -> Iterator[Checked]:
    """Check the submissions once more against the samples, the test files and the predictions."""
    if not SUBMISSION.exists():
        return
    try:
        yield from map(Checked, validate_submissions(load_params()))
    except PipelineError as error:
        yield Checked(SUBMISSION, f"the submission is refused: {error}")


def check_leaks() -> Iterator[Checked]:
    """Look for leaks in a finished run; signs that prove nothing stand in the report only."""
    if not SUBMISSION.exists():
        return
    try:
        leaks = find_leaks(without_left_out(load_params()))
        problems: list[str | None] = [leak.text for leak in leaks if leak.certain]
    except PipelineError as error:
        problems = [f"leaks cannot be looked for: {error}"]
    yield from (Checked(OUT, problem) for problem in problems or [None])
