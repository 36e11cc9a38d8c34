"""What the report is made of, read from the artifacts and from the records of the last runs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import read_json
from pipeline.artifacts.histories import HISTORY, ModelHistory
from pipeline.artifacts.paths import ABLATIONS, OUT
from pipeline.artifacts.scores import TaskScores
from pipeline.artifacts.table import Folds, Table
from pipeline.report.ablations import EXPERIMENTS
from pipeline.report.reporting import Texts
from pipeline.text.templates import readable
from pipeline.units.stage import LAST_RUN, LastRun, recorded_runs


def read_histories(stage: str, models: Iterable[str]) -> dict[str, ModelHistory]:
    """Return the history of each model that a stage trained, by its name: one unit per task, repeat and fold."""
    return {name: read_json(OUT / stage / name / HISTORY) for name in models}


def read_ablations(tasks: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return per task the tables of what was tried, by the command that wrote each, where there are some."""
    kinds = ("stitch", "augment", *EXPERIMENTS)
    paths = {task: {kind: ABLATIONS / f"{kind}-{task}.json" for kind in kinds} for task in tasks}
    return {
        task: {kind: read_json(path) for kind, path in tried.items() if path.exists()} for task, tried in paths.items()
    }


def read_last_runs(models: Sequence[str], folds: Folds, folder: Path = LAST_RUN) -> list[dict[str, Any]]:
    """Return what the last runs of today's models computed and reused, as far as it is known.

    Stitching leaves several records per fold; those of today's folds are summed into one, `stitch`.
    """
    runs = recorded_runs(folder)
    rows = folds.rows[["task", "repeat", "fold"]].drop_duplicates()
    today = {(str(task), int(repeat), int(fold)) for task, repeat, fold in rows.itertuples(index=False)}
    parts = [run for run in runs if (run.stage.task, run.stage.repeat, run.stage.fold) in today]
    lines = [_sum(run.stage.name, [run]) for run in runs if run.stage.model in models]
    return [*lines, *([_sum("stitch", parts)] if parts else [])]


def _sum(name: str, runs: Sequence[LastRun]) -> dict[str, Any]:
    sums = {key: sum(getattr(run, key) for run in runs) for key in ("computed", "reused", "seconds")}
    return {"stage": name, **sums}


def texts_of_hardest(table: Table, scores: Mapping[str, TaskScores]) -> Texts:
    """Return the texts of the hardest rows only: task -> row id -> (text, second text or None)."""
    texts: Texts = {}
    for task, task_scores in scores.items():
        rows = table.select(task, "train")
        rows = rows[rows["row_id"].isin([row["row_id"] for row in task_scores.get("hardest", ())])]
        pairs = [readable(pair) if isinstance(pair, str) else None for pair in rows["text_pair"]]
        texts[task] = dict(zip(rows["row_id"], zip(rows["text"].map(readable), pairs, strict=True), strict=True))
    return texts
