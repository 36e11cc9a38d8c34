"""Where the folds of an encoder begin that is pre-trained further first: one unit for all of them, or one for each fold."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.artifacts.histories import HISTORY, PretrainingRecord
from pipeline.artifacts.paths import pretrained_folder
from pipeline.artifacts.table import Folds, Table
from pipeline.params.encoders import Encoder
from pipeline.params.root import Run
from pipeline.pretrain.corpus import Place, corpus_of
from pipeline.pretrain.pretraining import pretrain
from pipeline.reproducibility import digest, numerics, pretraining_seed
from pipeline.units.execution import Job
from pipeline.units.unit import Unit, link_folder


def pretraining_jobs(
    encoder: str,
    table: Table,
    folds: Folds,
    places: Iterable[Place],
    *,
    settings: Encoder,
    recipe: Mapping[str, Any],
    seed: int,
    run: Run,
) -> dict[Place, Job]:
    """Return by repeat and fold the unit that pre-trains an encoder for it, all the same unless it is done per fold.

    A unit sees texts of all tasks, and nothing but texts; `seed` is that of the whole run.
    """
    jobs: dict[Place, Job] = {}
    if settings.pretrain is None:
        return jobs
    of_all: Job | None = None
    for place in places:
        own = place if settings.pretrain.per_fold else None
        if of_all is not None and own is None:
            jobs[place] = of_all
            continue
        corpus = corpus_of(table, folds, settings.pretrain, place=own)
        of_unit = pretraining_seed(seed, own)
        depends_on = {"step": "pretrain", "recipe": recipe["pretrain"], "texts": digest(corpus.texts), "seed": of_unit}
        depends_on["numerics"] = numerics(run.device, run.threads_per_worker)
        arguments = {"corpus": corpus, "settings": settings.pretrain, "source": settings.source}
        arguments |= {"max_length": settings.longest_input, "seed": of_unit}
        name = f"{encoder}/pretrain" if own is None else f"{encoder}/r{own[0]}-f{own[1]}/pretrain"
        jobs[place] = of_all = Unit(name, depends_on), pretrain, arguments
    return jobs


def publish_starts(folder: Path, starts: Mapping[Place, Unit], settings: Encoder) -> dict[str, list[PretrainingRecord]]:
    """Put what was pre-trained, whole Hugging Face folders, beside the folds' models; return what history says of it."""
    records: dict[str, PretrainingRecord] = {}
    for place, unit in starts.items():
        target = pretrained_folder(folder, place if settings.pretrain and settings.pretrain.per_fold else None)
        if target.name not in records:
            link_folder(unit.result, target)
            record = json.loads((unit.result / HISTORY).read_text(encoding="utf-8"))
            records[target.name] = {"name": target.name, "key": unit.key, **record}
    return {"pretraining": list(records.values())} if records else {}
