"""Targets that are one of C labels: read as numbers, learned as C logits, decided by the largest probability."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax, softmax

from pipeline.contracts import PROBABILITY, Metric
from pipeline.data.class_diagnostics import calibration_bins, confusion, hardest_rows
from pipeline.data.class_scales import apply_scales, find_scales

LARGEST_TUNED = 30  # more labels than this have too few rows each to tune a scale on
SMALLEST = 1e-12


@dataclass(frozen=True)
class ClassTargets:
    """A kind of task whose targets are int64 (N,), places in the list of C labels; `n_labels` of them, or two or more."""

    n_labels: int | None = None
    form: str = "class"

    def list_labels(self, cells: "pd.Series[str]") -> list[str]:
        """Return the labels that occur, whole numbers by size and anything else by text."""
        return order_labels(cells.unique().tolist())

    def check(self, cells: "pd.Series[str]") -> str | None:
        """Return what is wrong with how many labels occur, or None."""
        counts = cells.value_counts()
        if len(counts) >= 2 and self.n_labels in (None, len(counts)):
            return None
        wanted = "at least two labels" if self.n_labels is None else f"{self.n_labels} labels"
        return f"must have {wanted}, got {len(counts)}: {list(counts.index[:5])}"

    def is_readable(self, cells: "pd.Series[str]", labels: Sequence[str]) -> "pd.Series[bool]":
        """Return which cells name one of the labels."""
        return cells.isin(labels)

    def read(self, cells: "pd.Series[str]", labels: Sequence[str]) -> np.ndarray:
        """Return the labels' places in the list, int64 (N,)."""
        return cells.map({label: number for number, label in enumerate(labels)}).to_numpy(np.int64)

    def n_outputs(self, labels: Sequence[str]) -> int:
        """Return C: a logit per label."""
        return len(labels)

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

    def can_tune(self, values: np.ndarray, *, metric: Metric) -> bool:
        """Return whether scales may help: they move what is decided, and each needs rows enough."""
        return metric.reads == "labels" and values.shape[1] <= LARGEST_TUNED

    def fit_decision(self, targets: np.ndarray, values: np.ndarray, *, metric: Metric) -> list[float]:
        """Return the scales (C,) of the labels under which the metric is best."""
        return [float(scale) for scale in find_scales(targets, values, metric=metric)]

    def apply_decision(self, values: np.ndarray, parameters: Sequence[float]) -> np.ndarray:
        """Return probabilities (N, C) times scales (C,), made to sum to 1 again."""
        return apply_scales(values, parameters)

    def describe(
        self, targets: np.ndarray, values: np.ndarray, *, labels: list[str], row_ids: list[str]
    ) -> dict[str, Any]:
        """Return what the report shows of predictions: confusion counts, calibration bins, and the hardest rows."""
        return {
            "confusion": confusion(targets, self.decide(values), n_outputs=len(labels)).tolist(),
            "calibration": calibration_bins(targets, values),
            "hardest": hardest_rows(targets, values, row_ids=row_ids, names=labels),
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
    """Return labels sorted, by their value if all of them are integers.

    >>> order_labels(["10", "9", "-1"]), order_labels(["b", "10", "9"])
    (['-1', '9', '10'], ['10', '9', 'b'])
    """
    if all(re.fullmatch(r"[+-]?[0-9]+", label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)
