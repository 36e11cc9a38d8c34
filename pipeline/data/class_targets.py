"""Targets that are one of C labels: read as numbers, learned as C logits, decided by the largest scaled probability.

Source of the scales: a scaled argmax is optimal for metrics of confusion counts: Narasimhan et al., Consistent Multiclass
Algorithms for Complex Performance Measures, 2015.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax, softmax

from pipeline.contracts import PROBABILITY, Metric
from pipeline.data.plausible_targets import plausible_labels
from pipeline.number_formats import number_in
from pipeline.targets.thresholds import scores_of_confusions

LARGEST_TUNED = 30  # more labels than this have too few rows each to tune a scale on
SMALLEST = 1e-12
TRUTHS = ({"no", "yes"}, {"false", "true"})
SCALES = np.exp(np.linspace(-2, 2, 41))
N_SWEEPS = 3


@dataclass(frozen=True)
class ClassTargets:
    """A kind of task whose targets are int64 (N,), places in the list of C labels; `n_labels` of them, or two or more."""

    n_labels: int | None = None
    form: str = "class"

    def cells(self, columns: pd.DataFrame, renamed: Mapping[str, str]) -> "pd.Series[str]":
        """Return the only column, null where it is empty."""
        cells = columns.iloc[:, 0].map(lambda label: renamed.get(label, label)).astype("str")
        return cells.where(cells != "", None)

    def list_labels(self, cells: "pd.Series[str]", columns: Sequence[str]) -> list[str]:
        """Return the labels that occur, whole numbers by size and anything else by text."""
        return order_labels(cells.dropna().unique().tolist())

    def check(self, cells: "pd.Series[str]", labels: Sequence[str]) -> str | None:
        """Return what is wrong with how many labels occur, or None."""
        counts = cells.value_counts()
        if len(counts) >= 2 and self.n_labels in (None, len(counts)):
            return None
        wanted = "at least two labels" if self.n_labels is None else f"{self.n_labels} labels"
        return f"must have {wanted}, got {len(counts)}: {list(counts.index[:5])}"

    def faults(self, cells: "pd.Series[str]", labels: Sequence[str]) -> "pd.Series[str]":
        """Return what is wrong with the cells that name none of the labels."""
        return cells[~cells.isin(labels)].map(lambda cell: f"must be one of {list(labels)}, got {cell!r}")

    def read(self, cells: "pd.Series[str]", labels: Sequence[str]) -> np.ndarray:
        """Return the labels' places in the list, int64 (N,)."""
        return cells.map({label: number for number, label in enumerate(labels)}).to_numpy(np.int64)

    def outputs(self, labels: Sequence[str]) -> list[str]:
        """Return the labels: a logit for each."""
        return list(labels)

    def strata(self, targets: np.ndarray, labels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Return the labels themselves: the number of each row's (N,), and their names."""
        return targets, list(labels)

    def values(self, logits: np.ndarray) -> np.ndarray:
        """Return probabilities, float64 (N, C): the softmax of logits (N, C)."""
        probabilities: np.ndarray = softmax(logits.astype(np.float64), axis=1)
        return probabilities

    def logits(self, values: np.ndarray) -> np.ndarray:
        """Return log-probabilities, float32 (N, C), clipped below."""
        return np.log(values.clip(SMALLEST, 1)).astype(np.float32)

    def sureness(self, logits: np.ndarray) -> np.ndarray:
        """Return the log-probability of the likeliest label (N,)."""
        largest: np.ndarray = log_softmax(logits.astype(np.float64), axis=1).max(axis=1)
        return largest

    def decide(self, values: np.ndarray) -> np.ndarray:
        """Return the likeliest label's number, int64 (N,), of values (N, C) of which the largest wins."""
        return values.argmax(axis=1)

    def errors(self, targets: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return 1.0 where the decision is wrong, else 0.0, (N,)."""
        return (self.decide(values) != targets).astype(np.float64)

    def needed_errors(self, values: np.ndarray, *, metric: Metric) -> float | None:
        """Return 0 where scales may help: they move what is decided, and each needs rows enough."""
        return 0.0 if metric.reads == "labels" and values.shape[1] <= LARGEST_TUNED else None

    def fit_decision(self, targets: np.ndarray, values: np.ndarray, *, metric: Metric) -> list[float]:
        """Return the scales (C,), with geometric mean 1, whose argmax scores best: coordinate search over a coarse grid.

        A scale moves only where the score rises; among equally good values the one nearest to the present one is taken.
        For two labels one scale is searched, which is a threshold on the second label's probability.
        """
        n_outputs = values.shape[1]
        scales = np.ones(n_outputs)
        for _ in range(1 if n_outputs == 2 else N_SWEEPS):
            before = scales.copy()
            for label in [1] if n_outputs == 2 else range(n_outputs):
                scales[label] *= _best_scale(targets, values * scales, label, metric=metric)
            if np.array_equal(before, scales):
                break
        return (scales / np.exp(np.log(scales).mean())).tolist()

    def apply_decision(self, values: np.ndarray, parameters: Sequence[float]) -> np.ndarray:
        """Return probabilities (N, C) times scales (C,), made to sum to 1 again.

        >>> ClassTargets().apply_decision(np.array([[0.6, 0.4]]), [1.0, 3.0]).round(3)
        array([[0.333, 0.667]])
        """
        scaled = values * np.asarray(parameters)
        return scaled / scaled.sum(axis=1, keepdims=True)

    def is_decision_of(self, decided: np.ndarray, values: np.ndarray, *, within: float) -> bool:
        """Return whether scales make the first probabilities (N, C) of the second: constants added to their logarithms."""
        logs, scaled = (np.log(part.clip(SMALLEST, 1)) for part in (values, decided))
        return bool(np.abs(decided - softmax(logs + np.median(scaled - logs, axis=0), axis=1)).max() <= within)

    def plausible_targets(
        self, targets: np.ndarray, values: np.ndarray, by_fold: np.ndarray, *, twins: np.ndarray, agreement: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return every label for each of S test rows, (C, S), and how likely it is (C, S), from probabilities (K, S, C)."""
        weights = plausible_labels(targets, values, by_fold, twins=twins, agreement=agreement).T
        return np.repeat(np.arange(len(weights))[:, None], weights.shape[1], axis=1), weights

    def describe(
        self, targets: np.ndarray, values: np.ndarray, *, labels: list[str], row_ids: list[str], decision: Any
    ) -> dict[str, Any]:
        """Return what the report shows of predictions: confusion counts, calibration bins, and the hardest rows."""
        decided = self.decide(values)
        return {
            "confusion": confusion(targets, decided, n_outputs=len(labels)).tolist(),
            "calibration": calibration_bins(targets, values),
            "hardest": hardest_rows(targets, values, decided=decided, row_ids=row_ids, names=labels),
        }

    def answers(self, values: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
        """Return what a submission may show: `label`, the likeliest, and `probability:<label>` for each.

        >>> ClassTargets().answers(np.array([[0.25, 0.75]]), ["no", "yes"])["label"].tolist()
        ['yes']
        """
        frame = pd.DataFrame(values, columns=[PROBABILITY + label for label in labels])
        frame.insert(0, "label", [labels[number] for number in self.decide(values)])
        return frame


def order_labels(labels: Sequence[str]) -> list[str]:
    """Return labels sorted: numbers first, by their value however they are written, then words by text.

    >>> order_labels(["10.0", "9", "-1", "1e0"]), order_labels(["b", "10", "9"])
    (['-1', '1e0', '9', '10.0'], ['9', '10', 'b'])
    """
    values = {label: number_in(label) for label in labels}
    return sorted(labels, key=lambda label: (values[label] is None, values[label] or 0, label))


def are_ordered(labels: Sequence[str]) -> bool:
    """Return whether labels have an order of their own: as numbers, no two the same, or as no and yes, false and true.

    >>> are_ordered(["-1", "0.5", "10"]), are_ordered(["no", "yes"]), are_ordered(["low", "high"]), are_ordered(["1", "1.0"])
    (True, True, False, False)
    """
    values = {number_in(label) for label in labels}
    return (None not in values and len(values) == len(labels)) or {label.casefold() for label in labels} in TRUTHS


def _best_scale(labels: np.ndarray, probabilities: np.ndarray, label: int, *, metric: Metric) -> float:
    """Return the factor for one label, from the confusion counts under every factor of the grid at once."""
    n_outputs = probabilities.shape[1]
    others = probabilities.copy()
    others[:, label] = -1.0
    rival = others.argmax(axis=1)
    current = probabilities[:, label]
    needed = np.divide(others.max(axis=1), current, out=np.full(len(rival), np.inf), where=current > 0)
    # The row goes over to the label at the first factor of the grid above `needed`.
    crossing = np.searchsorted(SCALES, needed, side="right")
    grid = len(SCALES) + 1
    shape = (n_outputs, n_outputs, grid)
    cells = (labels * n_outputs + rival) * grid + crossing
    rows = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)
    over = rows.cumsum(axis=2)[:, :, :-1]  # (true, rival, factor): rows that have gone over
    counts = rows.sum(axis=2, keepdims=True) - over
    counts[:, label] += over.sum(axis=1)
    scores = scores_of_confusions(np.moveaxis(counts, -1, 0), metric)
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(SCALES[best[np.argmin(np.abs(np.log(SCALES[best])))]])


def confusion(labels: np.ndarray, predicted: np.ndarray, *, n_outputs: int) -> np.ndarray:
    """Return counts, an int64 array (C, C): true label by row, predicted label by column.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), n_outputs=2)
    array([[1, 0],
           [1, 1]])
    """
    return np.bincount(labels * n_outputs + predicted, minlength=n_outputs**2).reshape(n_outputs, n_outputs)


def calibration_bins(labels: np.ndarray, probabilities: np.ndarray, *, n_bins: int = 10) -> list[dict[str, Any]]:
    """Return for each bin of the top probability its bounds, mean confidence, accuracy (None if empty) and rows.

    >>> calibration_bins(np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]]), n_bins=2)[1]
    {'low': 0.5, 'high': 1.0, 'confidence': 0.9, 'accuracy': 0.5, 'rows': 2}
    """
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bin_of_row = np.minimum((top * n_bins).astype(int), n_bins - 1)
    bins: list[dict[str, Any]] = []
    for number in range(n_bins):
        inside = bin_of_row == number
        rows = int(inside.sum())
        confidence, accuracy = (float(top[inside].mean()), float(right[inside].mean())) if rows else (None, None)
        low, high = number / n_bins, (number + 1) / n_bins
        bins.append({"low": low, "high": high, "confidence": confidence, "accuracy": accuracy, "rows": rows})
    return bins


def hardest_rows(
    labels: np.ndarray, probabilities: np.ndarray, *, decided: np.ndarray, row_ids: list[str], names: list[str],
    n_rows: int = 20,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the rows whose true label got the lowest probability, the hardest first, with what was decided.

    >>> values, decided = np.array([[0.9, 0.1], [0.75, 0.25]]), np.array([0, 0])
    >>> hardest_rows(np.array([0, 1]), values, decided=decided, row_ids=["x", "y"], names=["a", "b"])[0]
    {'row_id': 'y', 'label': 'b', 'predicted': 'a', 'probability': 0.25}
    """
    of_true = probabilities[np.arange(len(labels)), labels]
    return [
        {
            "row_id": row_ids[n],
            "label": names[labels[n]],
            "predicted": names[decided[n]],
            "probability": float(of_true[n]),
        }
        for n in np.argsort(of_true, kind="stable")[:n_rows]
    ]
