"""Regression: one number per row, or several, in a column each, of which some may be missing."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.contracts import VALUE, Metric
from pipeline.data.plausible_numbers import plausible_numbers

FORM = "number"
LOSS = "mse"
SEVERAL_COLUMNS = True
BINS = True
SEPARATOR = "|"  # of the numbers of one row
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
LARGEST = 1e30  # its square is still a float32
FEWEST_BINS, MOST_BINS, ROWS_PER_BIN = 2, 10, 15
NEEDED_ERRORS = 1.0
N_HARDEST, MOST_POINTS = 20, 500
COLUMNS = ["Target", "Rows", "Mean", "Deviation", "Mean predicted", "Rmse", "Mae", "Pearson"]
logger = logging.getLogger(__name__)


def build() -> "Regression":
    """Return the kind of task."""
    return Regression()


@dataclass(frozen=True)
class Regression:
    """A kind of task whose targets and values are float64 (N, V), one per column, NaN where a target is missing."""

    form: str = FORM

    def cells(self, columns: pd.DataFrame, renamed: Mapping[str, str]) -> "pd.Series[str]":
        """Return each row's cells, joined; null where all are empty. What `renamed` calls by another text is that text."""
        texts = columns.apply(lambda column: column.str.strip().map(lambda cell: renamed.get(cell, cell)))
        joined = texts.iloc[:, 0].str.cat(texts.iloc[:, 1:], sep=SEPARATOR).astype("str")
        return joined.where((texts != "").any(axis=1), None)

    def list_labels(self, cells: "pd.Series[str]", columns: Sequence[str]) -> list[str]:
        """Return the columns' names."""
        return list(columns)

    def check(self, cells: "pd.Series[str]", labels: Sequence[str]) -> str | None:
        """Return which column has no two different numbers; the range of each is logged."""
        for label, column in zip(labels, self.read(cells, labels).T, strict=True):
            known = column[~np.isnan(column)]
            if len(np.unique(known)) < 2:
                held = f"{len(known)} rows with {known[0]:g}" if len(known) else "no number"
                return f"must have different numbers in each column, got {held} in {label!r}"
            text = "%s: numbers from %g to %g, mean %.4g, %d of %d missing"
            logger.info(
                text, label, known.min(), known.max(), known.mean(), len(column) - len(known), len(column),
            )  # fmt: skip
        return None

    def faults(self, cells: "pd.Series[str]", labels: Sequence[str]) -> "pd.Series[str]":
        """Return what is wrong with the cells in which something else than a number stands."""
        wrong = cells.map(lambda cell: _strange(cell, labels))
        return wrong[wrong.notna()]

    def read(self, cells: "pd.Series[str]", labels: Sequence[str]) -> np.ndarray:
        """Return the numbers, float64 (N, V), NaN where there is none."""
        numbers = [[_number(part) for part in cell.split(SEPARATOR)] for cell in cells]
        return np.array(numbers, np.float64).reshape(len(numbers), len(labels))

    def outputs(self, labels: Sequence[str]) -> list[str]:
        """Return the columns' names: an output for each."""
        return list(labels)

    def strata(self, targets: np.ndarray, labels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Return the bins of a single column (N,), else bool (N, S), those of each column and its missing ones; names.

        Several columns have fewer bins each: too many strata leave none its share.
        """
        most = max(FEWEST_BINS, MOST_BINS // len(labels))
        parts, names = zip(
            *(_bins(column, label, most) for column, label in zip(targets.T, labels, strict=True)), strict=True
        )
        if len(parts) == 1 and parts[0].any(axis=1).all():
            return parts[0].argmax(axis=1), names[0]
        return np.hstack(parts), [name for of_column in names for name in of_column]

    def values(self, logits: np.ndarray) -> np.ndarray:
        """Return the outputs themselves, float64 (N, V): models give them in the targets' units."""
        return logits.astype(np.float64)

    def logits(self, values: np.ndarray) -> np.ndarray:
        """Return the values themselves, float32 (N, V)."""
        return values.astype(np.float32)

    def sureness(self, logits: np.ndarray) -> np.ndarray:
        """Return how far from the middle of all a row's outputs lie (N,): who knows nothing predicts the middle."""
        values = self.values(logits)
        away = np.abs(values - np.median(values, axis=0))
        distances: np.ndarray = (away / np.maximum(away.mean(axis=0), np.finfo(float).tiny)).mean(axis=1)
        return distances

    def decide(self, values: np.ndarray) -> np.ndarray:
        """Return the values themselves."""
        return values

    def errors(self, targets: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the mean absolute error of a row's known targets (N,), each in standard deviations of its column."""
        known = ~np.isnan(targets)
        away = np.where(known, np.abs(targets - values), 0.0) / _deviations(targets)
        return away.sum(axis=1) / known.sum(axis=1).clip(1)

    def needed_errors(self, values: np.ndarray, *, metric: Metric) -> float | None:
        """Return 1: clipping seldom helps."""
        return NEEDED_ERRORS

    def fit_decision(self, targets: np.ndarray, values: np.ndarray, *, metric: Metric) -> list[float]:
        """Return the lowest and then the highest target of each column (2 V,), between which values are clipped."""
        empty = np.isnan(targets).all(axis=0)
        ends = [np.where(empty, end, find(np.where(empty, end, targets), axis=0))
                for end, find in ((-LARGEST, np.nanmin), (LARGEST, np.nanmax))]  # fmt: skip
        return np.concatenate(ends).tolist()

    def apply_decision(self, values: np.ndarray, parameters: Sequence[float]) -> np.ndarray:
        """Return values (N, V) clipped.

        >>> Regression().apply_decision(np.array([[0.5], [7.0]]), [1.0, 5.0]).tolist()
        [[1.0], [5.0]]
        """
        low, high = np.asarray(parameters).reshape(2, -1)
        return values.clip(low, high)

    def is_decision_of(self, decided: np.ndarray, values: np.ndarray, *, within: float) -> bool:
        """Return whether the first numbers (N, V) are the second ones, clipped at either end of each column."""
        return bool(np.abs(decided - values.clip(decided.min(axis=0), decided.max(axis=0))).max() <= within)

    def plausible_targets(
        self, targets: np.ndarray, values: np.ndarray, by_fold: np.ndarray, *, twins: np.ndarray, agreement: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return draws of S rows' numbers and the twins' own, (J + 1, S, V), and how likely they are (J + 1, S)."""
        columns = [
            plausible_numbers(targets[:, v], values[:, v], by_fold[:, :, v], seed=v) for v in range(values.shape[1])
        ]
        drawn = np.stack(columns, axis=2)
        known = np.where(twins < 0, 0.0, agreement)
        weights = np.vstack([np.tile((1 - known) / len(drawn), (len(drawn), 1)), known])
        return np.concatenate([drawn, targets[twins][None]]), weights

    def describe(
        self, targets: np.ndarray, values: np.ndarray, *, labels: list[str], row_ids: list[str], decision: Any
    ) -> dict[str, Any]:
        """Return what the report shows: a line per column, predicted against true, and the hardest rows."""
        errors = self.errors(targets, values)
        hardest = np.argsort(-errors, kind="stable")[:N_HARDEST]
        true, said = (list(map(_shown, numbers[hardest])) for numbers in (targets, values))
        shown = zip(hardest, true, said, errors[hardest].tolist(), strict=True)
        per_column = list(zip(labels, targets.T, values.T, strict=True))
        note = "Of the out-of-fold predictions, in the targets' units; the rows are those whose target is known."
        return {
            "tables": [
                {"title": "Targets", "columns": COLUMNS, "rows": [_line(*of) for of in per_column], "note": note}
            ],
            "scatter": [_points(*of) for of in per_column],
            "hardest": [
                {"row_id": row_ids[row], "label": label, "predicted": predicted, "error": error}
                for row, label, predicted, error in shown
            ],
        }

    def answers(self, values: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
        """Return what a submission may show: `label`, the numbers as text, and `value:<label>` of each.

        >>> Regression().answers(np.array([[0.5, 2.0]]), ["a", "b"]).to_dict("list")
        {'label': ['0.5|2.0'], 'value:a': [0.5], 'value:b': [2.0]}
        """
        frame = pd.DataFrame(values, columns=[VALUE + label for label in labels])
        texts = [SEPARATOR.join("" if value != value else repr(value) for value in row) for row in values.tolist()]
        frame.insert(0, "label", texts)
        return frame


def _number(text: str) -> float:
    return float(text) if NUMBER.fullmatch(text) else np.nan


def _shown(numbers: np.ndarray) -> str:
    return SEPARATOR.join("" if np.isnan(number) else f"{number:.6g}" for number in numbers)


def _strange(cell: str, labels: Sequence[str]) -> str | None:
    """Return what is wrong with a row's cells, or None."""
    must = "must be a number such as -1.5 or 2e3" + f" or nothing in each of {list(labels)}" * (len(labels) > 1)
    parts = cell.split(SEPARATOR) if isinstance(cell, str) else [""] * len(labels)
    if len(parts) != len(labels):
        return f"{must}, got {cell!r}"
    for label, part in zip(labels, parts, strict=True):
        if part and not (NUMBER.fullmatch(part) and abs(float(part)) <= LARGEST):
            return f"{must}, got {part!r}" + f" in {label!r}" * (len(labels) > 1)
    return None if any(parts) else f"{must}, got nothing"


def _bins(column: np.ndarray, label: str, most: int) -> tuple[np.ndarray, list[str]]:
    """Return the quantile bins of numbers and, if there are, the missing ones, bool (N, S), and their names."""
    missing = np.isnan(column)
    known = column[~missing]
    n_bins = max(1, min(most, len(known) // ROWS_PER_BIN))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, n_bins + 1))) if len(known) else np.empty(0)
    numbers = np.where(missing, -1, np.searchsorted(edges[1:-1], column, side="right"))
    parts = [numbers == number for number in range(max(1, len(edges) - 1)) if (numbers == number).any()]
    names = [
        f"{label} {place:02d}: {column[part].min():.4g} to {column[part].max():.4g}"
        for place, part in enumerate(parts, 1)
    ]
    if missing.any():
        parts, names = [*parts, missing], [*names, f"{label} missing"]
    return np.stack(parts, axis=1), names


def _deviations(targets: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column's known targets, 1 where there is none."""
    known = ~np.isnan(targets)
    counts = known.sum(axis=0).clip(1)
    centered = np.where(known, targets - np.where(known, targets, 0.0).sum(axis=0) / counts, 0.0)
    spread = np.sqrt((centered**2).sum(axis=0) / counts)
    return np.where(spread > 0, spread, 1.0)


def _line(label: str, target: np.ndarray, value: np.ndarray) -> list[Any]:
    known = ~np.isnan(target)
    target, value = target[known], value[known]
    errors = value - target
    varied = len(target) > 1 and min(np.ptp(target), np.ptp(value)) > 0
    pearson = float(np.corrcoef(target, value)[0, 1]) if varied else None
    scores = [float(np.sqrt((errors**2).mean())), float(np.abs(errors).mean()), pearson]
    return [label, len(target), float(target.mean()), float(target.std()), float(value.mean()), *scores]


def _points(label: str, target: np.ndarray, value: np.ndarray) -> dict[str, Any]:
    """Return true and predicted numbers of some rows, evenly taken in the order of the targets."""
    rows = np.argsort(target, kind="stable")[: int((~np.isnan(target)).sum())]
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_POINTS)).astype(int)]
    return {"name": label, "true": target[rows].tolist(), "predicted": value[rows].tolist()}
