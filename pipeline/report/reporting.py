"""The report: one HTML page that says what the score is, how far it can be trusted and how it was made.

`render` is a pure function over the artifacts' values: the same values give the same bytes. The page holds everything
it shows, runs no script and loads nothing. Whatever comes from data is escaped by the template.
"""

import io
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypedDict, Unpack

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML

from pipeline.artifacts.boards import Submitted
from pipeline.artifacts.histories import ModelHistory, UnitRecord
from pipeline.artifacts.left_out import LeftOut, left_out_text
from pipeline.artifacts.scores import TaskScores, best_first, submitted
from pipeline.artifacts.submissions import Submission
from pipeline.number_formats import correlation, count, duration, percent, score, signed
from pipeline.report import boards, figures, pretraining_section, stitch_section
from pipeline.report.ablations import experiments
from pipeline.report.cautions import cautions, data_cautions, premise_cautions
from pipeline.report.confusions import confusion_rows, largest_confusions
from pipeline.report.leak_signs import Leak

TEMPLATE = Path(__file__).with_name("report.html")
MATRIX_LABELS = 30  # from more labels a matrix is a carpet: the list of largest confusions says more
LARGEST_CONFUSIONS = 10
Texts = dict[str, dict[str, tuple[str, str | None]]]


class PageInputs(TypedDict):
    """What the page is made of."""

    leaks: Sequence[Leak]
    audit: dict[str, Any]  # what the prepare stage says of the data, per task
    histories: dict[str, ModelHistory]  # per encoder one unit per task, repeat and fold
    stitched: dict[str, ModelHistory]  # the same per stitched model
    augmentation: dict[str, Any]  # what became of the steps that make copies
    ablations: dict[str, dict[str, Any]]  # task -> kind -> table of `stitchfold ablate`; may be empty
    board: list[Submitted]  # what was submitted and what the board said; may be empty
    last_runs: list[dict[str, Any]]  # per stage how many units were computed and reused; may be empty
    left_out: list[LeftOut]  # for want of time; may be empty
    submissions: dict[str, Submission]  # by the name of their test file, which is empty where there is but one
    params: dict[str, Any]  # params.yaml with every default filled in
    texts: Texts  # task -> row id -> (text, second text or None), for the rows that are shown
    versions: dict[str, str]  # library -> version
    manifest: str  # digest of the fold manifest


def render(scores: Mapping[str, TaskScores], **inputs: Unpack[PageInputs]) -> str:
    """Return the page as HTML, for the scores of every task."""
    tasks = [_task(task, task_scores, inputs) for task, task_scores in scores.items()]
    shown = inputs | {
        "tasks": tasks,
        "pretraining": pretraining_section.describe(inputs["histories"]),
        "training": _training(inputs["histories"], inputs["versions"]),
        "stitched": _sum_training(inputs["stitched"], inputs["versions"]),
        "any_stitched": any(task["stitching"] or task["ablations"].get("stitch") for task in tasks),
        "any_experiments": any(task["experiments"] for task in tasks),
        "any_augmented": any(task["ablations"].get("augment") for task in tasks),
        "board": boards.describe(inputs["board"], [of_task["metric"] for of_task in submitted(scores).values()]),
        "params_text": as_yaml(inputs["params"]),
    }
    return _environment().get_template(TEMPLATE.name).render(shown)


def calibration_error(bins: list[dict[str, Any]]) -> float | None:
    """Return the expected calibration error, the mean of |accuracy - confidence| over rows, or None without rows.

    >>> calibration_error([{"confidence": 0.9, "accuracy": 0.7, "rows": 3}, {"confidence": None, "rows": 0}])
    0.2
    """
    filled = [part for part in bins if part["rows"]]
    total = sum(part["rows"] for part in filled)
    gaps = sum(part["rows"] * abs(part["accuracy"] - part["confidence"]) for part in filled)
    return round(gaps / total, 12) if total else None


def as_yaml(value: Any) -> str:
    """Return a JSON-like value as YAML text in the order given; components in the short form that users write.

    >>> as_yaml({"loss": {"kind": "losses", "name": "focal", "options": {}}})
    'loss: focal\\n'
    """
    buffer = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(_short_components(value), buffer)
    return buffer.getvalue()


def _short_components(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"kind", "name", "options"}:
            return {"name": value["name"], **value["options"]} if value["options"] else value["name"]
        return {key: _short_components(item) for key, item in value.items()}
    return [_short_components(item) for item in value] if isinstance(value, list) else value


def _task(name: str, scores: TaskScores, inputs: PageInputs) -> dict[str, Any]:
    """Return what the template shows of one task."""
    models = best_first(scores["models"], scores)
    names = [model["name"] for model in scores["models"]]  # JSON objects come sorted, this list in the ladder's order
    gains = ((model["name"], model["gain"]) for model in models)
    label = f"gain in {scores['metric']} over {figures.short(scores['best_single'])}"
    chosen = scores["chosen"]
    weighted = {member for weights in scores["weights"].values() for member in weights}
    texts, classes = inputs["texts"].get(name, {}), inputs["audit"][name]["classes"]
    return {
        **scores,
        "name": name,
        "audit": inputs["audit"][name],
        "strata": [label for label in scores["labels"] if label in classes] or list(classes),
        "auxiliary": name not in submitted({name: scores}),
        "submitted": _submitted([record["tasks"].get(name, {}) for record in inputs["submissions"].values()]),
        "models": models,
        "metric_names": [metric for metric in scores["estimate"]["metrics"] if metric != scores["metric"]],
        "best": next(model for model in models if model["name"] == scores["best_single"]),
        "ensemble": next(model for model in models if model["name"] == chosen),
        "score_plot": Markup(figures.model_scores(name, scores, models)),
        "gain_plot": Markup(figures.gains(name, label, gains, strong=lambda model, gain: model == chosen)),
        "rungs": [rung for rung in names if rung in scores["weights"]],
        "members": [member for member in names if member in weighted],
        "hardest": [{**row, "texts": texts.get(row["row_id"], ("", None))} for row in scores.get("hardest", ())],
        "stitching": stitch_section.describe(name, scores, inputs["stitched"]),
        "ablations": inputs["ablations"].get(name, {}),
        "experiments": experiments(inputs["ablations"].get(name, {})),
        **_decisions(name, scores),
        **_learning(name, scores, inputs),
    }


def _submitted(files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the rows, and how often each label stands, of a task's submissions together; there need not be one."""
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(file.get("labels", {}))
    return {"rows": sum(file.get("rows", 0) for file in files), "labels": counts}


def _decisions(name: str, scores: TaskScores) -> dict[str, Any]:
    """Return what is shown of what was decided: the confusion, and whether probabilities can be believed."""
    labels, counts, bins = scores["labels"], scores.get("confusion", []), scores.get("calibration", [])
    return {
        **{"confusion": counts, "calibration": bins, "tables": scores.get("tables", [])},
        "scatter": [
            {
                "name": points["name"],
                "svg": Markup(figures.scatter(points, title=f"{name}: {points['name']}, true and predicted")),
            }
            for points in scores.get("scatter", ())
        ],
        "matrix": confusion_rows(counts, labels) if counts and len(labels) <= MATRIX_LABELS else [],
        "confusions": largest_confusions(counts, labels, LARGEST_CONFUSIONS),
        "calibration_plot": Markup(figures.reliability(bins, title=f"{name}: reliability")),
        "calibration_error": calibration_error(bins),
    }


def _learning(name: str, scores: TaskScores, inputs: PageInputs) -> dict[str, Any]:
    """Return the encoders' learning curves and all cautions."""
    histories = inputs["histories"].items()
    units = {encoder: [unit for unit in history["units"] if unit["task"] == name] for encoder, history in histories}
    trained = {encoder: parts for encoder, parts in units.items() if any(unit["steps"] for unit in parts)}
    return {
        "curves": [_curve(name, encoder, parts) for encoder, parts in trained.items()],
        "cautions": [
            *map(left_out_text, inputs["left_out"]),
            *(leak.said for leak in inputs["leaks"] if leak.task in (name, "")),
            *premise_cautions(scores, inputs["audit"][name]),
            *scores.get("notes", ()),
            *cautions(scores, units=units, submitted=next(iter(inputs["submissions"].values()))["model"]),
            *data_cautions(inputs["audit"][name]),
        ],
    }


def _curve(task: str, encoder: str, units: list[UnitRecord]) -> dict[str, Any]:
    """Return one encoder's losses as a figure, and what each fold began and ended with."""
    folds = [
        {
            "repeat": unit["repeat"], "fold": unit["fold"], "first": unit["steps"][0]["loss"],
            "epochs": [epoch["loss"] for epoch in unit["epochs"]],
            "inner": [epoch["inner_score"] for epoch in unit["epochs"] if epoch["inner_score"] is not None],
        }
        for unit in units
        if unit["steps"]
    ]  # fmt: skip
    weighed = [unit for unit in units if unit.get("task_weights")]
    weights = Markup(figures.task_weights(task, encoder, weighed)) if weighed else None
    return {"encoder": encoder, "svg": Markup(figures.losses(task, encoder, units)), "folds": folds, "weights": weights}


def _training(histories: dict[str, ModelHistory], versions: dict[str, str]) -> list[dict[str, Any]]:
    """Return one line per encoder: units, rows, truncated rows, seconds, speed, and numerics besides the versions."""
    return [
        {
            "encoder": encoder,
            "units": units,
            "truncated": sum(unit["n_truncated"] for unit in units),
            "speed": statistics.median(unit["tokens_per_second"] for unit in units),
            **_sums(units, versions),
        }
        for encoder, history in histories.items()
        if (units := history["units"])
    ]


def _sum_training(stitched: dict[str, ModelHistory], versions: dict[str, str]) -> dict[str, Any] | None:
    """Return one line for all stitched models together, None without any."""
    units = [unit for history in stitched.values() for unit in history["units"]]
    return {"models": len(stitched), "units": len(units), **_sums(units, versions)} if units else None


def _sums(units: Sequence[UnitRecord], versions: dict[str, str]) -> dict[str, Any]:
    """Return the rows and seconds of units, and each way in which the numerics of some differ from the versions."""
    numerics = [
        ", ".join(f"{key} {value}" for key, value in unit["numerics"].items() if value not in (None, versions.get(key)))
        for unit in units
    ]
    rows, seconds = sum(unit["n_rows"] for unit in units), sum(unit["seconds"] for unit in units)
    return {"rows": rows, "seconds": seconds, "numerics": list(dict.fromkeys(numerics))}


@cache
def _environment() -> Environment:
    options: dict[str, Any] = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, **options)
    # Each by its name: what is looked up by a string no fingerprint follows.
    environment.filters.update(score=score, signed=signed, correlation=correlation, count=count, percent=percent)
    environment.filters.update(duration=duration, short=figures.short)
    environment.globals["MATRIX_LABELS"] = MATRIX_LABELS
    return environment
