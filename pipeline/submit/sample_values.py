"""What the sample submission's values tell: in which form the competition wants labels or probabilities written."""

import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.errors.exceptions import DataError
from pipeline.text.normalising import normalise

N_EXAMPLES = 5
# How one label is written in several forms; the first that makes the sample's values of the labels is taken.
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str.lower, str.upper, str.capitalize, str.title, str.strip, lambda text: f"{float(text):g}",
    lambda text: str(float(text)),
)  # fmt: skip


def check_sample_labels(values: Sequence[str], labels: Sequence[str], *, task: str, sample: Path) -> None:
    """Check that what a sample holds in the place of labels are labels; blanks say nothing.

    Raises:
        DataError: if one is none; with the labels' names in the sample's form where there is another one of them.
    """
    shown = list(dict.fromkeys(value for value in values if value.strip()))
    if not (unknown := [value for value in shown if value not in labels]):
        return
    where = f"{sample}: its values must be labels of task {task}, {_examples(labels)}, got {_examples(unknown)}"
    rename = f"tasks.{task}.rename_labels"
    if renames := _renames(shown, labels):
        text = f"{where}, the same in another form. {_renamed(renames, task)}"
    elif all(set(value.split()) <= set(labels) for value in unknown):
        most = max(len(value.split()) for value in unknown)
        ask = "Does the competition want the likeliest labels of each row?"
        text = f"{where}. {ask} Set values: top_k and k: {most} in tasks.{task}.submission.format."
    elif len(unknown) < len(shown):
        text = (
            f"{where} beside others. No model predicts what no training row has: look for it in {rename} and the file."
        )
    elif any(0 < _number(value) < 1 for value in unknown):
        text = f"{where}. Does the competition want `values: probabilities`? Set it in tasks.{task}.submission.format."
    else:
        text = f"{where}, none of them. Which label is which? Set {rename}: {{<label>: <the sample's name for it>}}."
    raise _refused(text, task)


def check_sample_names(values: Sequence[str], labels: Sequence[str], *, task: str, sample: Path) -> None:
    """Check the same where a cell may name several labels, with whatever between them that is no letter and no digit.

    Raises:
        DataError: if a cell says anything else.
    """
    longest_first = sorted(labels, key=len, reverse=True)
    known = re.compile("|".join(map(re.escape, longest_first)))
    unknown = [value for value in dict.fromkeys(values) if re.search(r"\w", known.sub(" ", value))]
    if unknown:
        must = f"its values must be names of labels of task {task}, {_examples(labels)}, got {_examples(unknown)}"
        raise _refused(
            f"{sample}: {must}. Set tasks.{task}.rename_labels: {{<label>: <the sample's name for it>}}.", task
        )


def check_sample_rankings(values: Sequence[str], labels: Sequence[str], *, k: int, task: str, sample: Path) -> None:
    """Check that what a sample holds in the place of the `k` likeliest labels are so many, with blanks between them.

    Raises:
        DataError: if one is no label, or no cell has `k`, or one has more.
    """
    shown = [value.split() for value in dict.fromkeys(values) if value.strip()]
    named = list(dict.fromkeys(name for names in shown for name in names))
    if unknown := [name for name in named if name not in labels]:
        must = f"its values must be {k} labels of task {task} each, of {_examples(labels)}, got {_examples(unknown)}"
        remedy = (
            _renamed(_renames(named, labels), task)
            or f"Set tasks.{task}.rename_labels: {{<label>: <the sample's name>}}."
        )
        raise _refused(f"{sample}: {must}. {remedy}", task)
    if shown and (most := max(map(len, shown))) != k:
        text = f"{sample}: its values must be {k} labels of task {task} each, got {most}"
        raise _refused(f"{text}. Set k: {most} in tasks.{task}.submission.format.", task)


def check_sample_decisions(values: Sequence[str], labels: Sequence[str], *, task: str, sample: Path) -> None:
    """Check that what a sample holds in a column of each label is 0 or 1; blanks say nothing.

    Raises:
        DataError: if one is neither.
    """
    shown = list(dict.fromkeys(value for value in values if value.strip()))
    if wrong := [value for value in shown if _number(value) not in (0, 1)]:
        text = f"{sample}: its values must be 0 or 1 for each label of task {task}, got {_examples(wrong)}"
        ask = f"Does the competition want `values: probabilities`? Set it in tasks.{task}.submission.format."
        raise _refused(f"{text}. {ask}", task)


def check_sample_probabilities(values: Sequence[str], labels: Sequence[str], *, task: str, sample: Path) -> None:
    """Check that what a sample holds in the place of probabilities are numbers from 0 to 1; blanks say nothing.

    Raises:
        DataError: if one is none.
    """
    shown = list(dict.fromkeys(value for value in values if value.strip()))
    if wrong := [value for value in shown if not 0 <= _number(value) <= 1]:
        text = f"{sample}: its values must be probabilities of task {task}, got {_examples(wrong)}"
        raise _refused(f"{text}. Does the competition want labels? Correct tasks.{task}.submission.format.", task)


def check_sample_numbers(values: Sequence[str], labels: Sequence[str], *, task: str, sample: Path) -> None:
    """Check that what a sample holds in the place of numbers are numbers; blanks say nothing.

    Raises:
        DataError: if one is none.
    """
    shown = list(dict.fromkeys(value for value in values if value.strip()))
    if wrong := [value for value in shown if not math.isfinite(_number(value))]:
        text = f"{sample}: its values must be numbers of task {task}, got {_examples(wrong)}."
        raise _refused(f"{text} Does the competition want labels? Correct tasks.{task}.kind.", task)


def _refused(text: str, task: str) -> DataError:
    blank = (
        f"Or, if the sample's values mean nothing, add sample_values: placeholders to tasks.{task}.submission.format."
    )
    return DataError(f"{text} {blank}", code="E305")


def _renamed(renames: dict[str, str], task: str) -> str:
    written = json.dumps(renames, ensure_ascii=False)
    return f"Set tasks.{task}.rename_labels: {written} (and so in `labels`, if that is set)." if renames else ""


def _renames(shown: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Return how labels are written where a sample's values are these in another form; nothing where some are not.

    >>> _renames(["False"], ["false", "true"]), _renames(["1"], ["1.0", "2.0"]), _renames(["NEG"], ["neg", "Pos"])
    ({'false': 'False', 'true': 'True'}, {'1.0': '1', '2.0': '2'}, {'neg': 'NEG', 'Pos': 'POS'})
    >>> _renames(["neg", "Pos"], ["neg", "pos"]), _renames(["0", "1"], ["no", "yes"])
    ({'pos': 'Pos'}, {})
    """
    by_form = {_form(label): label for label in labels}
    if not all(_form(value) in by_form for value in shown):
        return {}
    written = {by_form[_form(value)]: value for value in shown}
    for spelling in SPELLINGS:
        with suppress(ValueError):
            if all(spelling(label) == value for label, value in written.items()):
                written = {label: spelling(label) for label in labels}
                break
    return {label: value for label, value in written.items() if label != value}


def _form(text: str) -> str | float:
    """Return what is equal for a label in any of its forms."""
    number = _number(text)
    return number if number == number else normalise(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _examples(values: Sequence[str]) -> str:
    return f"[{', '.join(map(repr, values[:N_EXAMPLES]))}{', …' if len(values) > N_EXAMPLES else ''}]"
