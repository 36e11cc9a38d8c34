"""What the report is made of, read from the artifacts and from the records of the last runs."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import read_json
from pipeline.artifacts.folds import Folds
from pipeline.artifacts.histories import ModelHistory, read_history
from pipeline.artifacts.paths import ABLATIONS, OUT
from pipeline.artifacts.table import Table
from pipeline.report.reporting import Texts
from pipeline.units.store import LAST_RUN

OF_A_FOLD = re.compile(r"stitch-(?:states|heads|predict)-(.+)-r(\d+)-f(\d+)")


def read_histories(stage: str, models: Iterable[str]) -> dict[str, ModelHistory]:
    """Return the history of each model that a stage trained, by its name: one unit per task, repeat and fold."""
    return {name: {"units": read_history(OUT / stage / name)} for name in models}


def read_ablations(tasks: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return per task the tables of what was tried: `stitch` and `augment`, where there are some."""
    found: dict[str, dict[str, Any]] = {}
    for task in tasks:
        paths = {kind: ABLATIONS / f"{kind}-{task}.json" for kind in ("stitch", "augment")}
        found[task] = {kind: read_json(path) for kind, path in paths.items() if path.exists()}
    return found


def read_last_runs(models: Sequence[str], folds: Folds, folder: Path = LAST_RUN) -> list[dict[str, Any]]:
    """Return what the last runs of today's models computed and reused, as far as it is known.

    Stitching leaves several records per fold; those of today's folds are summed into one, `stitch`.
    """
    found = [_read_record(path) for path in sorted(folder.glob("*.json"))]
    records = [one for one in found if one is not None]
    rows = folds.rows[["task", "repeat", "fold"]].drop_duplicates()
    today = {(str(task), str(repeat), str(fold)) for task, repeat, fold in rows.itertuples(index=False)}
    parts = [one for one in records if (match := OF_A_FOLD.fullmatch(one["stage"])) and match.groups() in today]
    runs = [one for one in records if one["stage"].partition("-")[2] in models]
    return [*runs, *([_sum(parts)] if parts else [])]


def _read_record(path: Path) -> dict[str, Any] | None:
    """Return a run's record, or None of a damaged one, on which nothing else depends."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"stage", "computed", "reused", "seconds"} <= record.keys() else None


def _sum(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sums = {key: sum(one[key] for one in records) for key in ("computed", "reused", "seconds")}
    return {"stage": "stitch", **sums}


def texts_of_hardest(table: Table, scores: Mapping[str, Any]) -> Texts:
    """Return the texts of the hardest rows only: task -> row id -> (text, second text or None)."""
    texts: Texts = {}
    for task, found in scores["tasks"].items():
        wanted = [row["row_id"] for row in found["hardest"]]
        rows = table.select(task, "train")
        rows = rows[rows["row_id"].isin(wanted)]
        pairs = [pair if isinstance(pair, str) else None for pair in rows["text_pair"]]
        texts[task] = dict(zip(rows["row_id"], zip(rows["text"], pairs, strict=True), strict=True))
    return texts
