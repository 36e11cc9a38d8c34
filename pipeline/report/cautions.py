"""What a reader should see before believing a score: doubts that the scores, the training and the data give cause for."""

import math
from typing import Any

from pipeline import components
from pipeline.artifacts.histories import UnitRecord
from pipeline.artifacts.scores import LabelShift, Score, TaskScores, gains_by_split, sign_of
from pipeline.data.likeness import shift_text
from pipeline.ensemble.intervals import within
from pipeline.number_formats import count, percent, score, signed

TRUNCATED_RATIO = 0.01
IMBALANCE_RATIO = 10
MOVED_CHANCE = 0.01
MOVED_RATIO = 0.02
N_MOVED = 3


def cautions(scores: TaskScores, *, units: dict[str, list[UnitRecord]], submitted: str) -> list[str]:
    """Return what of one task's scores and training should make a reader stop, most serious first.

    Args:
        scores: of the task.
        units: encoder name -> the records of its units of this task.
        submitted: `ensemble`, or the model whose predictions were submitted.
    """
    estimate, baseline, holdout = scores["estimate"], scores["baseline"], scores["holdout"]
    said = []
    if holdout and None not in (estimate["low"], holdout["low"]):
        # What the hold-out shares with the test file: the mean of all fold models, but neither its twins nor its kind.
        bounds = components.constant("metrics", scores["metric"], "BOUNDS")
        promised = within(estimate["score"] + estimate["averaging"], bounds)
        if _worse(holdout, estimate, promised=promised, sign=sign_of(scores)):
            said.append(
                f"The untouched hold-out scores {score(holdout['score'])} where the estimate promises {score(promised)}: "
                "worse by more than both intervals explain. Look for a leak before trusting the estimate."
            )
    if baseline is not None and not _surely_better(estimate, baseline, sign=sign_of(scores)):
        said.append(
            f"The estimate's interval ({score(estimate['low'])} to {score(estimate['high'])}) does not lie clear of "
            f"the baseline's {score(baseline)}: the models may be no better than it."
        )
    if (gain := scores["gain"]) and gain["low"] is not None and gain["low"] <= 0:
        said.append(
            f"The gain of the ensemble over the best single model is {signed(gain['value'])} "
            f"({signed(gain['low'])} to {signed(gain['high'])}): {'a loss' if gain['high'] < 0 else 'not significant'}."
        )
    said += [
        f"The ensemble with stitched models gains {signed(gain['value'])} "
        f"({signed(gain['low'])} to {signed(gain['high'])}) {'on the test rows' if split == 'test' else 'on the hold-out'} "
        "over the one without: a loss. Leave them out of stack.members."
        for split, gain in gains_by_split(scores).items()
        if gain["high"] is not None and gain["high"] < 0
    ]
    if submitted != "ensemble":
        said.append(f"The submission holds the predictions of {submitted}; the estimate is that of the ensemble.")
    for encoder, records in units.items():
        rows, truncated = (sum(unit[key] for unit in records) for key in ("n_rows", "n_truncated"))
        if rows and truncated / rows >= TRUNCATED_RATIO:
            share = percent(truncated / rows)
            said.append(f"{encoder} reads {share} of its rows truncated: see max_length and truncation.")
    return said


def _worse(holdout: Score, estimate: Score, *, promised: float, sign: int) -> bool:
    """Return whether a hold-out falls short of what was promised by more than both half intervals added in quadrature.

    Better it may be: nothing that leaks into the out-of-fold score leaves it too low.
    """
    halves = [(part["high"] - part["low"]) / 2 for part in (estimate, holdout)]
    return sign * (promised - holdout["score"]) > math.hypot(*halves)


def _surely_better(estimate: Score, baseline: float, *, sign: int) -> bool:
    worst = estimate["low"] if sign > 0 else estimate["high"]
    return worst is not None and sign * worst > sign * baseline


def premise_cautions(scores: TaskScores, audit: dict[str, Any]) -> list[str]:
    """Return how a task's test rows are known not to be like its training rows, as the interval for them supposes.

    By their texts, by their predicted labels, and by training rows that say the same.
    """
    said, overlap = [], audit["overlap"]
    if audit["test_likeness"]["shifted"]:
        said.append(shift_text(audit["test_likeness"]))
    if without := scores["estimate"]["unweighted"]:
        said.append(
            "So the score expected on the test rows counts training rows by how like test rows they are, worth "
            f"{count(round(scores['effective_rows']))} rows, which makes its interval wide; without that it would be "
            f"{score(without['expected'])} ({score(without['test_low'])} to {score(without['test_high'])}). It holds if "
            "texts that are alike have like labels in both files."
        )
    if (shift := scores["label_shift"]) and (moved := _moved_labels(shift)):
        said.append(
            f"Labels are predicted in other shares of the test rows than of the out-of-fold rows: {moved} (by chance: p = "
            f"{shift['p_value']:.1g}). The interval for the test rows holds for the training file's shares of labels, and "
            "class scales (stack.tune_decision) are tuned for them: where the metric hangs on shares, believe neither."
        )
    if near := overlap["test_near_duplicates_in_train"]:
        said.append(
            f"{count(near)} test rows ({percent(near / audit['rows']['test'])}) nearly equal a training row, "
            f"{count(overlap['test_texts_in_train'])} of them exactly."
        )
    return said


def _moved_labels(shift: LabelShift) -> str:
    """Return which labels' shares surely differ, and by how much; nothing where that may be chance or is little."""
    by_size = sorted(shift["labels"].items(), key=lambda item: -abs(item[1][1] - item[1][0]))
    return ", ".join(
        f"{label!r} {percent(test)}, not {percent(out_of_fold)}"
        for label, (out_of_fold, test) in by_size[:N_MOVED]
        if shift["p_value"] < MOVED_CHANCE and abs(test - out_of_fold) >= MOVED_RATIO
    )


def data_cautions(audit: dict[str, Any]) -> list[str]:
    """Return what of one task's audit a reader should know before believing a score."""
    by_rows = sorted(audit["classes"].items(), key=lambda item: (item[1], item[0]))
    (rarest, few), (commonest, many) = by_rows[0], by_rows[-1]
    duplicates, conflicts = audit["duplicates"], audit["conflicting_labels"]
    empty = sum(part["count"] for part in audit["empty_texts"].values())
    variants = "; ".join(" = ".join(map(repr, spellings)) for spellings in audit["label_variants"])
    repeated, alike = duplicates["exact_rows"], duplicates["near_rows"]
    candidates = [
        (variants, f"Labels that may be one label spelt in several ways: {variants}."),
        (conflicts["texts"], f"{count(conflicts['texts'])} training texts stand with different labels."),
        (
            repeated + alike,
            f"{count(repeated)} rows repeat a text and {count(alike)} more nearly do: such rows share a fold.",
        ),
        (
            many >= IMBALANCE_RATIO * few,
            f"Classes are unequal: {count(many)} training rows of {commonest!r}, {count(few)} of {rarest!r}.",
        ),
        (empty, f"{count(empty)} rows have nothing to read in their text."),
    ]
    return [text for holds, text in candidates if holds]
