"""The command `stitchfold bundle`: one folder that predicts from raw test files without this project, DVC or a network.

It holds the weights, each tensor once, what reads texts, the fitted stackers as JSON, and the project's own code that
predicting reaches. Before it gets its name its own predict.py has predicted some test rows, by itself, as `out/` has them.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError

from pipeline.artifacts.files import json_bytes, publish_folder, sync_folder
from pipeline.artifacts.paths import OUT, predictions_path
from pipeline.artifacts.predictions import probabilities_of, read_predictions
from pipeline.artifacts.table import read_folds, read_table
from pipeline.bundle.closure import carried_code, component_starts
from pipeline.bundle.platforms import DATASET, gather_wheels, write_kaggle, write_zip
from pipeline.bundle.predictor import ASSETS, DESCRIPTION, read_description
from pipeline.bundle.sources import Sources
from pipeline.bundle.stacks import Stacked, stack_members
from pipeline.bundle.writer import Writer, describe
from pipeline.errors.exceptions import DataError, MachineError, ParamsError, expected
from pipeline.params.root import Params
from pipeline.units.budget import without_left_out

ENSEMBLE = "ensemble"
IDENTITY = ("competition", "model", "task", "fold", "without")
PREDICT = "predict.py"
START = ("pipeline.bundle.run", "main")
AS_PREDICTED = 1e-2  # states of half precision round otherwise in other company; other folds or rows differ by more
ENTRY = '''"""Predicts a raw test file: python {name} --input test.csv. See README.md."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # the folder may be read-only
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "assets"))

from pipeline.bundle.run import main  # noqa: E402

if __name__ == "__main__":
    main(HERE, {defaults!r} + sys.argv[1:])
'''
README = """\
# {model} of {competition}

Predicts {file} and any file like it, without a network; what it imports stands in requirements.txt.

    python {entry} --input {file} --output submission.csv --budget-minutes 60

A valid file is there within seconds and gets better until all is done or the time is over. `--help` lists the options.
Made by `stitchfold bundle`.
"""


@dataclass(frozen=True)
class Bundled:
    """A bundle that was written: its members with the bytes that only they need, and what was seen when it was tried.

    `seconds` are those of each member by row, alone, on the `n_rows` that were tried, `difference` the largest from `out/`.
    """

    members: list[str]
    description: dict[str, Any]
    sizes: dict[str, int]
    seconds: dict[str, float]
    n_rows: int
    difference: float
    stacked: Stacked | None


def bundle(
    params: Params, *, model: str, task: str, folder: Path, fold: int | None = None, without: Sequence[str] = (),
    check_rows: int = 16, entry: str = PREDICT, defaults: Sequence[str] = (),
) -> Bundled:  # fmt: skip
    """Write a finished model, or the ensemble, into a folder, which appears whole or not at all.

    Args:
        params: with which it was trained.
        model: `ensemble`, or the name of a stitched model, an encoder or a baseline.
        task: which task's.
        folder: where to; an earlier bundle of the same is replaced.
        fold: only this fold of the first repeat; None takes all folds of all repeats.
        without: members to leave out of the ensemble.
        check_rows: test rows that the bundle predicts by itself before it is given its name.
        entry: the name of its command.
        defaults: the arguments that this has by default.

    Raises:
        ParamsError: if there is no such model, task, fold or member.
        DataError: if a model is not computed, made with other params, or predicts otherwise than `out/` says; or if the
            folder holds something else.
        MachineError: if a part is damaged, or the disk full or not writable.
    """
    params = without_left_out(params)
    _check_names(params, model, task, without, fold)
    table, folds = read_table(), read_folds()
    sources = Sources(params, task, table, folds, fold)
    identity = dict(zip(IDENTITY, (params.competition, model, task, fold, list(without)), strict=True))
    _check_target(folder, identity)
    names = [name for name in params.members if name not in without] if model == ENSEMBLE else [model]
    found = {name: sources.fold_models(name) for name in names}
    stacked = stack_members(params, task, without, table=table, folds=folds) if model == ENSEMBLE else None
    ordered = stacked.members if stacked else names
    with _filled(folder) as temporary:
        writer = Writer(temporary / ASSETS, sources)
        members = [writer.member(name, found[name]) for name in ordered]
        description = describe(sources, writer, members, stacked) | identity
        if stacked is None:
            description["average"] = _average(sources, model)
        (writer.folder / DESCRIPTION).write_bytes(json_bytes(description))
        packages = _write_code(temporary, description)
        (temporary / entry).write_text(ENTRY.format(name=entry, defaults=list(defaults)), encoding="utf-8")
        file = description["reading"]["file"]
        about = README.format(model=model, competition=params.competition, file=file, entry=entry)
        (temporary / "README.md").write_text(about, encoding="utf-8")
        tried = _rehearse(temporary / entry, sources, description, check_rows)
        used = packages & set(tried["modules"]) if tried else packages
        (temporary / "requirements.txt").write_text(_requirements(used), encoding="utf-8")
        sizes = writer.sizes(members)
    n_rows, difference = (tried["rows"], tried["difference"]) if tried else (0, float("nan"))
    return Bundled(ordered, description, sizes, tried.get("seconds", {}), n_rows, difference, stacked)


def write_for(
    purpose: Literal["folder", "kaggle", "drivendata"], params: Params, folder: Path, *, wheels: str | None = None,
    **chosen: Any,
) -> tuple[Bundled, Path]:  # fmt: skip
    """Write a bundle with what surrounds it where it is to run; return it, and what is ready to go there.

    Args:
        purpose: a folder alone, Kaggle's data set and notebook, or a zip with a main.py at its root.
        params, folder, chosen: as for `bundle`.
        wheels: the Python for which wheels are put beside it, None for none.
    """
    given: Any = {"folder": folder / DATASET if purpose == "kaggle" else folder}
    if purpose == "drivendata":
        submission = params.tasks[chosen["task"]].submission if chosen["task"] in params.tasks else None
        files = {"--input": params.tasks[chosen["task"]].test, "--sample": submission.sample} if submission else {}
        defaults = [part for option, file in files.items() if file for part in (option, f"data/{Path(file).name}")]
        given |= {"entry": "main.py", "defaults": defaults}
    bundled = bundle(params, **given, **chosen)
    if wheels is not None:
        gather_wheels(given["folder"], wheels)
    if purpose == "kaggle":
        kinds = {member["kind"] for member in bundled.description["members"]}
        write_kaggle(folder, bundled.description, on_gpu=kinds != {"baseline"})
    return bundled, write_zip(folder) if purpose == "drivendata" else folder


def _check_names(params: Params, model: str, task: str, without: Sequence[str], fold: int | None) -> None:
    if task not in params.tasks:
        raise ParamsError(f"--task: {expected(task, params.tasks)}")
    if model != ENSEMBLE and model not in params.stages:
        raise ParamsError(f"--model: {expected(model, [ENSEMBLE, *params.stages])}")
    if model != ENSEMBLE and without:
        raise ParamsError(f"--without: is for the ensemble, got it with --model {model}. Leave either out.")
    if model == ENSEMBLE and fold is not None:
        raise ParamsError(f"--fold: is for a single model, got {fold} with the ensemble of all folds. Name a --model.")
    for name in without:
        if name not in params.members:
            raise ParamsError(f"--without: {expected(name, params.members)}")
    if set(without) >= set(params.members):
        raise ParamsError(f"--without: must leave a member, got all of {params.members}. Name fewer.")


def _check_target(folder: Path, identity: dict[str, Any]) -> None:
    """Refuse to replace anything but an earlier bundle of the same, or an empty folder."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    description = read_description(folder)
    if description is None:
        raise DataError(f"{folder}: exists and is no bundle. Choose another --output, or remove it.")
    held = {name: description.get(name) for name in IDENTITY}
    if held != identity:
        raise DataError(f"{folder}: holds another bundle, {held}. Choose another --output, or remove it.")


def _average(sources: Sources, model: str) -> list[float]:
    """Return what a model predicts on average (V,) for the training rows."""
    predictions = sources.predictions(model)
    is_oof = (predictions.rows["split"] == "oof").to_numpy()
    values = sources.table.kind(sources.task).values(predictions.logits[is_oof])
    return [float(value) for value in values.mean(axis=0)]


def _write_code(folder: Path, description: dict[str, Any]) -> set[str]:
    """Write the code that predicting reaches, and return the packages that it may import."""
    starts = [START, *component_starts("task_kinds", description["kind"][0])]
    starts += component_starts("formats", description["submission"]["format"][0])
    for stack in description["stacks"]:
        starts += component_starts("stackers", stack["component"][0])
    for encoder in description["encoders"]:
        starts += component_starts("encoders", encoder["source"], "restore")
    for member in description["members"]:
        starts += component_starts("baselines", member["component"][0]) if "component" in member else []
        for spec in [fold["spec"] for fold in member["folds"] if "spec" in fold]:
            windows = (spec.get("window") or {}).get("pooling")
            parts = {"heads": [spec["head"]], "poolings": [spec["pooling"], windows], "fusions": [spec.get("fusion")]}
            for kind, used in parts.items():
                starts += [start for part in used if part for start in component_starts(kind, part[0])]
            if stage := spec.get("stage"):  # of a way of sharing: its options have their defaults in `build`
                starts += [
                    start for name in ("build", "stage") for start in component_starts("sharing", stage[0], name)
                ]
    files, packages = carried_code(starts)
    for name, text in files.items():
        path = folder / ASSETS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return packages


def _rehearse(entry: Path, sources: Sources, description: dict[str, Any], n_rows: int) -> dict[str, Any]:
    """Let a bundle predict the first test rows in a process of its own, and compare that with what `out/` says.

    Raises:
        DataError: if it cannot, or predicts something else.
    """
    rows = sources.table.select(sources.task, "test").head(n_rows)
    if rows.empty:
        return {}
    pairs = None if description["reading"]["columns"]["text_pair"] is None else rows["text_pair"].tolist()
    with tempfile.TemporaryDirectory() as aside:
        texts = Path(aside) / "rows.json"
        texts.write_bytes(json_bytes({"text": rows["text"].tolist(), "text_pair": pairs}))
        command = [sys.executable, "-I", str(entry.resolve()), "--rehearse", str(texts)]
        done = subprocess.run(command, cwd=aside, capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"bundle: must predict by itself, got: {done.stderr.strip()[-2000:]}. Report it.")
    tried: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    model, kind = description["model"], sources.table.kind(sources.task)
    if description["without"]:
        return tried | {"rows": len(rows), "difference": float("nan")}
    stage = sources.params.stages.get(model, "stack")
    path = predictions_path(stage, model, sources.task)
    known = read_predictions(path, manifest=sources.folds.digest)
    fold: Any = {} if sources.fold is None else {"fold": sources.fold, "repeat": 0}
    stored = probabilities_of(known, "test", rows["row_id"].tolist(), kind=kind, **fold)
    difference = float(np.abs(np.array(tried["values"]) - stored).max() / max(1.0, np.abs(stored).max()))
    if difference > AS_PREDICTED:
        raise DataError(
            f"{path}: must be what the bundle predicts, within {AS_PREDICTED}, got a difference of {difference:.3g} in "
            f"{len(rows)} test rows: {OUT} was made with other params, code or files. Run dvc repro, then stitchfold bundle."
        )
    return tried | {"rows": len(rows), "difference": difference}


def _requirements(packages: set[str]) -> str:
    """Return the distributions that packages come from, with the versions that were tested here."""
    distributions = packages_distributions()  # reads what every installed package says of itself
    names = sorted({distributions[package][0] for package in packages} | {"safetensors"})
    return "".join(f"{name}=={version(name).partition('+')[0]}\n" for name in names)


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, and when it is whole put it in the place of an earlier bundle."""
    temporary, whole = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("tmp", "new"))
    for leftover in (temporary, whole):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        publish_folder(temporary, whole)
        if folder.exists():
            folder.rename(temporary)
        whole.rename(folder)
        sync_folder(folder.parent)
    except (OSError, SafetensorError) as error:
        raise MachineError(f"{folder}: cannot be written: {error}. Free space and bundle again.") from error
    finally:
        for leftover in (temporary, whole):
            shutil.rmtree(leftover, ignore_errors=True)
