"""What a reader should see before believing a score: doubts that the scores, the training and the data give cause for."""

import math
from typing import Any

from pipeline.artifacts.histories import UnitRecord
from pipeline.number_formats import count, percent, score, signed

TRUNCATED_RATIO = 0.01
IMBALANCE_RATIO = 10


def cautions(found: dict[str, Any], *, units: dict[str, list[UnitRecord]], submitted: str) -> list[str]:
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
            f"The untouched hold-out scores {score(holdout['score'])}, the estimate says {score(estimate['score'])}: "
            "further apart than both intervals explain. Look for a leak before trusting the estimate."
        )
    if baseline is not None and not _surely_better(estimate, baseline, higher_is_better=found["higher_is_better"]):
        said.append(
            f"The estimate's interval ({score(estimate['low'])} to {score(estimate['high'])}) does not lie clear of "
            f"the baseline's {score(baseline)}: the models may be no better than it."
        )
    if (gain := chosen["gain"]) and gain["low"] is not None and gain["low"] <= 0:
        said.append(
            f"The gain of {found['chosen']} over {found['best_single']} is {signed(gain['value'])} "
            f"({signed(gain['low'])} to {signed(gain['high'])}): "
            + ("a loss." if gain["high"] < 0 else "not significant.")
        )
    said += _stitching_cautions(found["stitching"])
    if submitted != "ensemble":
        said.append(f"The submission holds the predictions of {submitted}; the estimate is that of the ensemble.")
    for encoder, own in units.items():
        rows, truncated = sum(unit["n_rows"] for unit in own), sum(unit["n_truncated"] for unit in own)
        if rows and truncated / rows >= TRUNCATED_RATIO:
            said.append(
                f"{encoder} reads {percent(truncated / rows)} of its rows truncated: see max_length and truncation."
            )
    return said


def _stitching_cautions(stitching: dict[str, Any] | None) -> list[str]:
    """Return a caution for each split on which the ensemble is surely worse for its stitched models."""
    differences = (stitching and stitching["difference"]) or {}
    names = {"oof": "out of fold", "holdout": "on the hold-out"}
    return [
        f"The ensemble with stitched models gains {signed(gain['value'])} ({signed(gain['low'])} to "
        f"{signed(gain['high'])}) {where} over the one without: a loss. Leave them out of stack.members."
        for split, where in names.items()
        if (gain := differences.get(split)) and gain["high"] is not None and gain["high"] < 0
    ]


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
        (conflicts["texts"], f"{count(conflicts['texts'])} training texts stand with different labels."),
        (near, f"{count(near)} test rows nearly equal a training row, {count(texts)} of them exactly."),
        (
            duplicates["exact_rows"] + duplicates["near_rows"],
            f"{count(duplicates['exact_rows'])} rows repeat a text and {count(duplicates['near_rows'])} more nearly "
            "do: such rows share a fold.",
        ),
        (
            many >= IMBALANCE_RATIO * few,
            f"Classes are unequal: {count(many)} training rows of {commonest!r}, {count(few)} of {rarest!r}.",
        ),
        (empty, f"{count(empty)} rows have nothing to read in their text."),
    ]
    return [text for holds, text in candidates if holds]
