"""The report: one HTML page that says what the score is, how far it can be trusted and how it was made.

`render` is a pure function over the artifacts' values: the same values give the same bytes. The page holds everything
it shows, runs no script and loads nothing. Whatever comes from data is escaped by the template.
"""

import io
import math
import statistics
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML

from pipeline import plotting

TEMPLATE = Path(__file__).with_name("report.html")
MATRIX_LABELS = 30  # from more labels a matrix is a carpet: the list of largest confusions says more
LARGEST_CONFUSIONS = 10
TRUNCATED_RATIO = 0.01
IMBALANCE_RATIO = 10
Texts = dict[str, dict[str, tuple[str, str | None]]]


def render(
    scores: dict[str, Any],
    *,
    audit: dict[str, Any],
    histories: dict[str, dict[str, Any]],
    last_runs: list[dict[str, Any]],
    submission: dict[str, Any],
    params: dict[str, Any],
    texts: Texts,
    versions: dict[str, str],
    manifest: str,
) -> str:
    """Return the page as HTML.

    Args:
        scores: what the stack stage found, `{"tasks": {task: {...}}}`.
        audit: what the prepare stage found in the data, per task.
        histories: encoder name -> `{"units": [...]}`, one unit per task, repeat and fold.
        last_runs: per stage how many units were computed and reused; may be empty.
        submission: what was submitted: path, sha256, model, and per task the rows and the counts of the labels.
        params: params.yaml with every default filled in.
        texts: task -> row id -> (text, second text or None), for the rows that are shown.
        versions: library -> version.
        manifest: digest of the fold manifest.
    """
    tasks = [
        _task(
            task,
            found,
            audit=audit[task],
            submission=submission,
            histories=histories,
            texts=texts.get(task, {}),
        )
        for task, found in scores["tasks"].items()
    ]
    template = _environment().get_template(TEMPLATE.name)
    return template.render(
        tasks=tasks,
        training=_training(histories, versions=versions),
        last_runs=last_runs,
        submission=submission,
        params=params,
        params_text=as_yaml(params),
        versions=versions,
        manifest=manifest,
    )


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


def cautions(found: dict[str, Any], *, units: dict[str, list[dict[str, Any]]], submitted: str) -> list[str]:
    """Return what of one task's scores and training should make a reader stop, most serious first.

    Args:
        found: one task of scores.json.
        units: encoder name -> the records of its units of this task.
        submitted: `ensemble`, or the model whose predictions were submitted.
    """
    estimate, baseline, holdout = found["estimate"], found["baseline"], found["holdout"]
    chosen = next(model for model in found["models"] if model["name"] == found["chosen"])
    said = []
    if holdout and not _compatible(estimate, holdout):
        said.append(
            f"The untouched hold-out scores {_score(holdout['score'])}, the estimate says {_score(estimate['score'])}: "
            "further apart than both intervals explain. Look for a leak before trusting the estimate."
        )
    if baseline is not None and not _surely_better(estimate, baseline, higher_is_better=found["higher_is_better"]):
        said.append(
            f"The estimate's interval ({_score(estimate['low'])} to {_score(estimate['high'])}) does not lie clear of "
            f"the baseline's {_score(baseline)}: the models may be no better than it."
        )
    if (gain := chosen["gain"]) and gain["low"] is not None and gain["low"] <= 0:
        said.append(
            f"The gain of {found['chosen']} over {found['best_single']} is {_signed(gain['value'])} "
            f"({_signed(gain['low'])} to {_signed(gain['high'])}): "
            + ("a loss." if gain["high"] < 0 else "not significant.")
        )
    if submitted != "ensemble":
        said.append(f"The submission holds the predictions of {submitted}; the estimate is that of the ensemble.")
    for encoder, own in units.items():
        rows, truncated = sum(unit["n_rows"] for unit in own), sum(unit["n_truncated"] for unit in own)
        if rows and truncated / rows >= TRUNCATED_RATIO:
            said.append(
                f"{encoder} reads {_percent(truncated / rows)} of its rows truncated: see max_length and truncation."
            )
    return said


def _compatible(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two independent scores differ by no more than their half intervals added in quadrature."""
    halves = [(part["high"] - part["low"]) / 2 for part in (one, other) if None not in (part["low"], part["high"])]
    return len(halves) < 2 or abs(one["score"] - other["score"]) <= math.hypot(*halves)


def _surely_better(estimate: dict[str, Any], baseline: float, *, higher_is_better: bool) -> bool:
    worst = estimate["low"] if higher_is_better else estimate["high"]
    return worst is not None and (worst > baseline if higher_is_better else worst < baseline)


def data_cautions(audit: dict[str, Any]) -> list[str]:
    """Return what of one task's audit a reader should know before believing a score."""
    by_rows = sorted(audit["classes"].items(), key=lambda item: (item[1], item[0]))
    (rarest, few), (commonest, many) = by_rows[0], by_rows[-1]
    duplicates, conflicts, overlap = audit["duplicates"], audit["conflicting_labels"], audit["overlap"]
    empty = sum(part["count"] for part in audit["empty_texts"].values())
    variants = "; ".join(" = ".join(repr(label) for label in alike) for alike in audit["label_variants"])
    near, texts = overlap["test_near_duplicates_in_train"], overlap["test_texts_in_train"]
    candidates = [
        (variants, f"Labels that may be one label spelt in several ways: {variants}."),
        (conflicts["texts"], f"{_count(conflicts['texts'])} training texts stand with different labels."),
        (near, f"{_count(near)} test rows nearly equal a training row, {_count(texts)} of them exactly."),
        (
            duplicates["exact_rows"] + duplicates["near_rows"],
            f"{_count(duplicates['exact_rows'])} rows repeat a text and {_count(duplicates['near_rows'])} more nearly "
            "do: such rows share a fold.",
        ),
        (
            many >= IMBALANCE_RATIO * few,
            f"Classes are unequal: {_count(many)} training rows of {commonest!r}, {_count(few)} of {rarest!r}.",
        ),
        (empty, f"{_count(empty)} rows have nothing to read in their text."),
    ]
    return [text for holds, text in candidates if holds]


def _task(
    name: str,
    found: dict[str, Any],
    *,
    audit: dict[str, Any],
    submission: dict[str, Any],
    histories: dict[str, Any],
    texts: dict[str, Any],
) -> dict[str, Any]:
    """Return what the template shows of one task."""
    best_first = -1 if found["higher_is_better"] else 1
    models = sorted(found["models"], key=lambda model: (model["score"] is None, best_first * (model["score"] or 0)))
    units = {encoder: [unit for unit in one["units"] if unit["task"] == name] for encoder, one in histories.items()}
    named = [model["name"] for model in found["models"]]  # JSON objects come sorted, this list in the ladder's order
    weighted = {member for weights in found["weights"].values() for member in weights}
    return {
        **found,
        "name": name,
        "audit": audit,
        "submitted": submission["tasks"][name],
        "models": models,
        "metric_names": [metric for metric in found["estimate"]["metrics"] if metric != found["metric"]],
        "best": next(model for model in models if model["name"] == found["best_single"]),
        "ensemble": next(model for model in models if model["name"] == found["chosen"]),
        "cautions": cautions(found, units=units, submitted=submission["model"]) + data_cautions(audit),
        "score_plot": Markup(plotting.scores(name, found, models)),
        "gain_plot": Markup(plotting.gains(name, found, models)),
        "curves": [_curve(name, encoder, own) for encoder, own in units.items() if any(unit["steps"] for unit in own)],
        "matrix": plotting.confusion_rows(found["confusion"], found["labels"])
        if len(found["labels"]) <= MATRIX_LABELS
        else [],
        "confusions": plotting.largest_confusions(found["confusion"], found["labels"], LARGEST_CONFUSIONS),
        "calibration_plot": Markup(plotting.reliability(found["calibration"], title=f"{name}: reliability")),
        "calibration_error": calibration_error(found["calibration"]),
        "rungs": [name for name in named if name in found["weights"]],
        "members": [name for name in named if name in weighted],
        "hardest": [{**row, "texts": texts.get(row["row_id"], ("", None))} for row in found["hardest"]],
    }


def _curve(task: str, encoder: str, units: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one encoder's losses as a figure, and what each fold began and ended with."""
    folds = [
        {
            "repeat": unit["repeat"],
            "fold": unit["fold"],
            "first": unit["steps"][0]["loss"],
            "epochs": [epoch["loss"] for epoch in unit["epochs"]],
            "inner": [epoch["inner_score"] for epoch in unit["epochs"] if epoch["inner_score"] is not None],
        }
        for unit in units
        if unit["steps"]
    ]
    return {"encoder": encoder, "svg": Markup(plotting.losses(task, encoder, units)), "folds": folds}


def _training(histories: dict[str, dict[str, Any]], *, versions: dict[str, str]) -> list[dict[str, Any]]:
    """Return one line per encoder: units, rows, truncated rows, seconds, speed, and numerics besides the versions."""
    return [
        {
            "encoder": encoder,
            "units": units,
            "rows": sum(unit["n_rows"] for unit in units),
            "truncated": sum(unit["n_truncated"] for unit in units),
            "seconds": sum(unit["seconds"] for unit in units),
            "speed": statistics.median(unit["tokens_per_second"] for unit in units),
            "numerics": list(dict.fromkeys(_difference(unit["numerics"], versions) for unit in units)),
        }
        for encoder, history in histories.items()
        if (units := history["units"])
    ]


def _difference(numerics: dict[str, Any], versions: dict[str, str]) -> str:
    return ", ".join(
        f"{key} {value}" for key, value in numerics.items() if value is not None and value != versions.get(key)
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(score=_score, signed=_signed, count=_count, percent=_percent, duration=_duration)
    environment.globals["MATRIX_LABELS"] = MATRIX_LABELS
    return environment


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}".replace("-", "−")


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}".replace("-", "−")


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
