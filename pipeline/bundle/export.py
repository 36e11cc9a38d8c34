"""A finished stitched model of all its folds, encoders included, written as one folder that predicts from raw texts.

Source: safetensors, Torch shared tensors, https://huggingface.co/docs/safetensors/torch_shared_tensors
"""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_model
from torch import nn

from pipeline.artifacts.files import MEND, is_whole, publish_folder, read_json, read_manifest, sync_folder
from pipeline.artifacts.histories import HISTORY, UnitRecord, place_of, read_history
from pipeline.artifacts.paths import OUT, SCORES, predictions_path, stage_recipe_path
from pipeline.artifacts.predictions import read_predictions
from pipeline.artifacts.scores import best_first, read_scores
from pipeline.artifacts.table import Folds, Table, read_folds, read_table
from pipeline.bundle.description import DESCRIPTION, FORMAT, VERSION, read_description
from pipeline.bundle.exported_model import ExportedModel
from pipeline.data.fold_jobs import FoldJob, fold_jobs
from pipeline.errors.exceptions import DataError, MachineError, ParamsError, expected
from pipeline.models.classifier import WEIGHTS, TextClassifier
from pipeline.params.root import Params
from pipeline.reproducibility import digest, versions
from pipeline.stitch.fold_encoders import fold_base, head_rows
from pipeline.stitch.fold_training import SPEC, load_stitched
from pipeline.stitch.plan import Context, plan_model
from pipeline.stitch.states import Base
from pipeline.text.templates import is_template

IDENTITY = ("model", "task", "fold")
NOT_FOR_READING = (WEIGHTS, HISTORY)
LOADED_ALREADY = {
    "finetune": "an encoder, whose folders out/finetune/{0}/models/* load by pipeline.models.classifier.load_classifier",
    "baseline": "a baseline, which is fitted anew in seconds",
}


@dataclass(frozen=True)
class Plan:
    """One fold of a model: the folder of its stitch, and its encoders, the frame first."""

    job: FoldJob
    folder: Path
    bases: list[Base]


def export(model: str, task: str, *, params: Params, folder: Path, fold: int | None = None) -> Path:
    """Write a finished stitched model into a folder, which `load_exported` reads, and return the folder.

    The folder appears whole or not at all; an earlier export of the same model is replaced.

    Args:
        model: its name, such as `bert+electra+cnn`.
        task: which task's.
        params: with which it was trained.
        folder: where to.
        fold: only this fold of the first repeat; None takes all folds of all repeats.

    Raises:
        ParamsError: if there is no such stitched model, task or fold.
        DataError: if the model is not computed, damaged, or made with other params, rows or encoders; or if the folder
            holds something else.
        MachineError: if the disk is full or not writable.
    """
    _check_names(model, task, params)
    identity = dict(zip(IDENTITY, (model, task, fold), strict=True))
    table, folds = read_table(), read_folds()
    plans = _plan(model, task, fold, params=params, table=table, folds=folds)
    _check_target(folder, identity)
    read_predictions(predictions_path("stitch", model, task), manifest=folds.digest)  # refuses those of other folds
    header = {
        "format": FORMAT, "version": VERSION, **identity, "kind": table.kinds[task], "labels": table.labels[task],
        "manifest": folds.digest, "pairs": params.tasks[task].columns.text_pair is not None, "versions": versions(),
    }  # fmt: skip
    _write(_assemble(plans, header, tuned=params.stitch.unfreeze > 0), folder)
    return folder


def choose(model: str | None, task: str | None, params: Params) -> tuple[str, str]:
    """Return the model and the task: what is None becomes the best stitched model by out-of-fold score, and the only task.

    Raises:
        ParamsError: if there are several tasks, or no such task.
        DataError: if there are no scores of a stitched model.
    """
    if task is None and len(params.tasks) > 1:
        raise ParamsError(f"--task: must be one of {list(params.tasks)}, got none. Name it.")
    task = task or next(iter(params.tasks))
    if task not in params.tasks:
        raise ParamsError(f"--task: {expected(task, params.tasks)}")
    if model is not None:
        return model, task
    scores = read_scores()[task]
    stitched = [record for record in scores["models"] if record["kind"] == "stitched" and record["score"] is not None]
    if not stitched:
        remedy = "Name one by --model, or set stitch.pairs and run dvc repro."
        raise DataError(f"{SCORES}: must hold a stitched model, got none. {remedy}")
    return best_first(stitched, scores)[0]["name"], task


def _check_names(model: str, task: str, params: Params) -> None:
    stitched = params.stitch.models(list(params.encoders))
    if model not in stitched:
        if what := LOADED_ALREADY.get(params.stages.get(model, ""), "").format(model):
            raise ParamsError(
                f"--model: must be a stitched model, one of {sorted(stitched)}, but {model!r} is {what}. Name one of them."
            )
        raise ParamsError(f"--model: {expected(model, stitched)}")
    if task not in params.tasks:
        raise ParamsError(f"--task: {expected(task, params.tasks)}")
    columns, groups = params.tasks[task].columns, params.stitch.groups(list(params.encoders))
    encoders = [params.encoders[name] for name in groups[stitched[model][0]] or params.encoders]
    read = {f"tasks.{task}.columns.{key}": is_template(getattr(columns, key)) for key in ("text", "text_pair")}
    read[f"tasks.{task}.columns.swap"] = columns.swap
    read |= {
        f"encoders.*.{key}": any(getattr(encoder, key) for encoder in encoders)
        for key in ("field_budgets", "chat_template")
    }
    if carried := [key for key, is_used in read.items() if is_used]:
        raise ParamsError(
            f"{carried[0]}: an export reads plain texts, and pairs in one order. Put the rows into the test file instead."
        )


def _check_target(folder: Path, identity: dict[str, Any]) -> None:
    """Refuse to replace anything but an earlier export of the same model, or an empty folder."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    description = read_description(folder)
    if description is None:
        raise DataError(f"{folder}: exists and is no export. Choose another --output, or remove it.")
    held = {name: description.get(name) for name in IDENTITY}
    if held != identity:
        raise DataError(f"{folder}: holds another export, {held}. Choose another --output, or remove it.")


def _plan(model: str, task: str, fold: int | None, *, params: Params, table: Table, folds: Folds) -> list[Plan]:
    """Return the folds to export after checking all of them; nothing large is read yet."""
    home = OUT / "stitch" / model
    if not (home / HISTORY).is_file():
        raise DataError(f"{home}: the model is not computed yet, or was left out for want of time. Run dvc repro.")
    records = {place_of(unit): unit for unit in read_history(home)}
    jobs = [job for job in fold_jobs(table, folds, seed=params.seed) if job.task == task]
    if fold is not None:
        numbers = [job.fold for job in jobs if job.repeat == 0]
        if fold not in numbers:
            raise ParamsError(f"--fold: must be one of {numbers}, got {fold}. Leave it out to export all of them.")
        jobs = [job for job in jobs if (job.repeat, job.fold) == (0, fold)]
    context = Context(
        params=params, table=table, folds=folds, recipe=read_json(stage_recipe_path("stitch")),
        finetuned=OUT / "finetune", encoders=[], histories={}, predictions={}, numerics={},
    )  # fmt: skip
    return [_plan_fold(context, home, job, records.get((job.task, job.repeat, job.fold))) for job in jobs]


def _plan_fold(context: Context, home: Path, job: FoldJob, record: UnitRecord | None) -> Plan:
    folder, params, model = home / "models" / job.name, context.params, home.name
    if record is None or not is_whole(folder) or not (folder / SPEC).is_file():
        raise MachineError(f"{folder}: the fold's stitched model is missing or damaged. {MEND}", code="E402")
    remedy = "Run dvc repro, then export."
    stale = DataError(f"{folder}: was trained with other params, rows, encoders or code than those here. {remedy}")
    names = record["encoders"]
    group, _ = params.stitch.models(list(params.encoders))[model]
    head_name = model.removeprefix(f"{group}+")
    states, train = context.recipe["states"], context.recipe["train"]
    if not set(names) <= set(states) & set(params.encoders) or head_name not in train:
        raise stale
    bases = [
        fold_base(
            context.finetuned / name, job, read_history(context.finetuned / name),
            encoder_settings=params.encoders[name], settings=params.stitch, code=states[name],
        )
        for name in names
    ]  # fmt: skip
    rows = head_rows(job, params.stitch, params.encoders[names[0]])
    listed = params.stitch.groups(list(params.encoders))[group] or [name for name in params.encoders if name in names]
    # The key of the unit that trained it says all that it depends on, the machine too: that may be another one here.
    context = replace(context, numerics=record["numerics"])
    if plan_model(context, job, model, listed, bases, head_name, rows).training[0].key != record["key"]:
        raise stale
    return Plan(job, folder, bases)


def _assemble(plans: list[Plan], header: dict[str, Any], *, tuned: bool) -> ExportedModel:
    """Load all folds into one module; encoders, and files to read texts with, that are the same in several stand once."""
    encoders: list[TextClassifier] = []
    described: list[dict[str, Any]] = []
    readers: dict[str, tuple[Base, Any]] = {}
    folders: dict[tuple[str, str], str] = {}
    stitches, folds = [], []
    for plan in plans:
        loaded = [base.load() for base in plan.bases]
        stitched = load_stitched(plan.folder, [encoder for encoder, _ in loaded], plan.bases, tuned=tuned)
        numbers = []
        for base, (encoder, tokenizer) in zip(plan.bases, loaded, strict=True):
            folder = f"encoders/{base.encoder}-r{plan.job.repeat}-f{plan.job.fold}"
            folder = folders.setdefault((base.encoder, digest(_reading_files(base.model))), folder)
            readers.setdefault(folder, (base, tokenizer))
            entry = {
                "encoder": base.encoder, "folder": folder, "max_length": base.settings.max_length,
                "truncation": base.settings.truncation, "layers": base.layers, "without_offsets": base.without_offsets,
            }  # fmt: skip
            alike = (n for n, known in enumerate(described) if known == entry and _same(encoders[n], encoder))
            if (number := next(alike, len(encoders))) == len(encoders):
                described.append(entry)
                encoders.append(encoder)
            numbers.append(number)
        stitches.append(stitched.stitch)
        fold = {"repeat": plan.job.repeat, "fold": plan.job.fold}
        folds.append({**fold, "encoders": numbers, "stitch": stitched.stitch.spec})
    return ExportedModel({**header, "encoders": described, "folds": folds}, readers, encoders, stitches)


def _reading_files(folder: Path) -> dict[str, str]:
    """Return the digests of the files of a fold's model that are neither weights nor records: configuration, tokenizer."""
    return {name: file_digest for name, file_digest in read_manifest(folder).items() if name not in NOT_FOR_READING}


def _same(*modules: nn.Module) -> bool:
    first, second = (module.state_dict() for module in modules)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _write(model: ExportedModel, folder: Path) -> None:
    """Fill a temporary folder, and only when it is whole put it in the place of an earlier export."""
    temporary, whole = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("tmp", "new"))
    for leftover in (temporary, whole):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        for sub_folder, (base, _) in model.readers.items():
            for name in _reading_files(base.model):
                copy = temporary / sub_folder / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(base.model / name, copy)
        text = json.dumps(model.description, ensure_ascii=False, indent=1)
        (temporary / DESCRIPTION).write_text(text + "\n", encoding="utf-8", errors="surrogatepass")
        save_model(model, str(temporary / WEIGHTS))
        (temporary / WEIGHTS).chmod(0o644)  # safetensors lets nobody else read it
        publish_folder(temporary, whole)
        if folder.exists():
            folder.rename(temporary)
        whole.rename(folder)
        sync_folder(folder.parent)
    except (OSError, SafetensorError) as error:
        raise MachineError(f"{folder}: cannot be written: {error}. Free space and export again.") from error
    finally:
        for leftover in (temporary, whole):
            shutil.rmtree(leftover, ignore_errors=True)
