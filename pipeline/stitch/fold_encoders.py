"""What fine-tuning left for a fold, checked: each encoder's model of this very fold, and how much its states will take."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pipeline.artifacts.files import MEND, is_whole
from pipeline.artifacts.histories import UnitRecord, model_digest, place_of
from pipeline.artifacts.paths import pretrained_folder
from pipeline.data.fold_jobs import FoldJob, raw_texts, trained_rows_digest
from pipeline.errors.exceptions import DataError, MachineError
from pipeline.params.encoders import Encoder
from pipeline.params.stitch import Stitch as Settings
from pipeline.reproducibility import digest
from pipeline.stitch.states import BYTES_PER_VALUE, Base
from pipeline.training.epoch_choice import inner_split

WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")


def fold_base(
    encoder: Path, job: FoldJob, history: list[UnitRecord], *, encoder_settings: Encoder, settings: Settings, code: str
) -> Base:
    """Return an encoder of one fold, after checking that its model is whole and was trained on this fold's rows.

    `encoder` is the folder in which fine-tuning left it, called by its name; `code` digests the code that computes states.

    Raises:
        MachineError: if the model is missing or damaged.
        DataError: if it is another fold's.
    """
    folder, encoder_settings = encoder / "models" / job.name, encoder_settings.for_task(job.task)
    record = next((unit for unit in history if place_of(unit) == (job.task, job.repeat, job.fold)), None)
    if record is None or not is_whole(folder):
        wrong = "does not match its manifest (damaged, or edited)" if record and folder.is_dir() else "is missing"
        raise MachineError(f"{folder}: the fold's model {wrong}. {MEND}", code="E402")
    built = model_digest(folder)
    if record["rows"] != trained_rows_digest(job, encoder_settings) or record["model"] != built:
        raise DataError(
            f"{folder}: must be the model that never saw fold {job.fold} of this fold manifest, got one of another fold or "
            "manifest: its heads would be scored on rows it knows. "
            f"Run dvc repro --force --single-item finetune@{encoder.name}"
        )
    reading = encoder_settings.reading(job.reading.fields)
    base = Base(encoder.name, reading, folder, built, code, settings.layers, settings.without_offsets)
    if settings.base == "finetuned":
        return base
    # What fine-tuning made of it does not matter then.
    texts = raw_texts(job.to_fit)
    if encoder_settings.pretrain is not None:
        start = pretrained_folder(encoder, (job.repeat, job.fold) if encoder_settings.pretrain.per_fold else None)
        return replace(base, settings=reading.beginning_at(start), digest=model_digest(start), fresh=(texts, job.seed))
    built = digest({"source": encoder_settings.source.model_dump(), "texts": texts, "seed": job.seed})
    return replace(base, digest=built, fresh=(texts, job.seed))


def states_bytes(base: Base, history: list[UnitRecord], n_rows: int) -> int:
    """Return about how many bytes the states of rows take, from the tokens that training counted."""
    record = history[0]
    tokens_per_row = record["n_tokens"] / (record["n_rows"] * len(record["epochs"]))
    config = json.loads((base.model / "config.json").read_text(encoding="utf-8"))
    width = next((config[name] for name in WIDTHS if isinstance(config.get(name), int)), 1024)
    return round(BYTES_PER_VALUE * width * tokens_per_row * n_rows)


def head_rows(job: FoldJob, settings: Settings, encoder_settings: Encoder) -> pd.DataFrame:
    """Return what a fold's heads learn from: its training rows, or those that its encoders spared (`held_out`)."""
    if settings.head_rows != "held_out":
        return job.to_fit
    spared = inner_split(job.to_fit, encoder_settings, job.seed)[1]
    if spared is None:
        raise ValueError("head_rows: held_out needs encoders with epoch_selection: inner.")
    return spared
