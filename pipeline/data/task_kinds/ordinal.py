"""Ordinal: one of three or more labels that have an order, from the lowest to the highest.

Source of the link `corn`: Shi, Cao & Raschka, Deep Neural Networks for Rank-Consistent Ordinal Regression Based On
Conditional Probabilities, 2021, https://arxiv.org/abs/2111.08851: C - 1 logits of P(y > k | y > k - 1), which multiply.
Differs from the paper: what is decided is not the median but the expected label, rounded, which quadratic costs want.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit

from pipeline.contracts import Metric
from pipeline.data.class_targets import SMALLEST, ClassTargets
from pipeline.targets.thresholds import TIE, best_rounding

FORM = "class"
LOGITS = {"corn": "rank"}
LOSS = {"corn": "corn"}
ORDER = "from the lowest to the highest"
FEWEST_LABELS = 3
NEEDED_ERRORS = 1.0
COLUMNS = ["Label", "Rows", "Decided", "Right", "One off", "Further off", "Rounded up at"]
MOVED = " Each fold was decided by thresholds of the others, these are the final ones."


def build(
    *, link: Literal["corn", "softmax"] = "corn", decision: Literal["expected", "likeliest"] = "expected"
) -> "Ordinal":
    """Return the kind of task.

    Args:
        link: what models learn: whether each label is passed, or, as if there were no order, a logit for each.
        decision: the expected label rounded, for metrics that count how far off a label is; or the likeliest one.
    """
    return Ordinal(link=link, decision=decision)


@dataclass(frozen=True)
class Ordinal(ClassTargets):
    """A kind of task whose targets are int64 (N,), places in the order of C labels, and whose values are probabilities."""

    link: str = "corn"
    decision: str = "expected"

    def check(self, cells: "pd.Series[str]", labels: Sequence[str]) -> str | None:
        """Return what is wrong with how many labels there are, or None."""
        if len(labels) < FEWEST_LABELS:
            return f"must have at least three labels, got {len(labels)}: {list(labels)}"
        return super().check(cells, labels)

    def outputs(self, labels: Sequence[str]) -> list[str]:
        """Return the names of the steps from one label to the next, or the labels: a logit for each."""
        return [f"> {label}" for label in labels[:-1]] if self.link == "corn" else list(labels)

    def values(self, logits: np.ndarray) -> np.ndarray:
        """Return probabilities, float64 (N, C), of logits (N, C - 1) of going on to the next label, or (N, C).

        >>> Ordinal().values(np.zeros((1, 2))).tolist()
        [[0.5, 0.25, 0.25]]
        """
        if self.link == "softmax":
            return super().values(logits)
        steps = logits.astype(np.float64)
        beyond, one = np.cumprod(expit(steps), axis=1), np.ones((len(steps), 1))
        return np.hstack([one, beyond]) * np.hstack([expit(-steps), one])

    def logits(self, values: np.ndarray) -> np.ndarray:
        """Return the logits of probabilities (N, C) clipped below, float32 (N, C - 1) or (N, C)."""
        if self.link == "softmax":
            return super().logits(values)
        known = values.clip(SMALLEST, 1)
        beyond = known[:, ::-1].cumsum(axis=1)[:, -2::-1]  # (N, C - 1)
        logits: np.ndarray = (np.log(beyond) - np.log(known[:, :-1])).astype(np.float32)
        return logits

    def sureness(self, logits: np.ndarray) -> np.ndarray:
        """Return the log-probability of the likeliest label (N,)."""
        return np.log(self.values(logits).max(axis=1))

    def decide(self, values: np.ndarray) -> np.ndarray:
        """Return the expected label of probabilities (N, C), rounded, or the likeliest one: int64 (N,)."""
        if self.decision == "likeliest":
            return super().decide(values)
        rounded = np.floor(_expected(values) + 0.5 + TIE).astype(np.int64)
        return rounded.clip(0, values.shape[1] - 1)

    def errors(self, targets: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return by how many labels the decision is off, (N,)."""
        return np.abs(self.decide(values) - targets).astype(np.float64)

    def needed_errors(self, values: np.ndarray, *, metric: Metric) -> float | None:
        """Return 1 where thresholds may help, which rounding is near to already."""
        needed = super().needed_errors(values, metric=metric)
        return needed if self.decision == "likeliest" or needed is None else NEEDED_ERRORS

    def fit_decision(self, targets: np.ndarray, values: np.ndarray, *, metric: Metric) -> list[float]:
        """Return the thresholds (C - 1,) of the expected label that score best, or the labels' scales (C,)."""
        if self.decision == "likeliest":
            return super().fit_decision(targets, values, metric=metric)
        return best_rounding(targets, _expected(values), n_labels=values.shape[1], metric=metric).tolist()

    def apply_decision(self, values: np.ndarray, parameters: Sequence[float]) -> np.ndarray:
        """Return probabilities (N, C) whose expected label is moved so that thresholds (C - 1,) come to lie at the halves.

        In between it goes straight. A share of each probability goes to the next label beyond the new expected one.

        >>> moved = Ordinal().apply_decision(np.array([[0.6, 0.4, 0.0], [0.0, 0.6, 0.4]]), [0.4, 1.6])
        >>> moved.round(3).tolist(), Ordinal().decide(moved).tolist()
        ([[0.5, 0.5, 0.0], [0.0, 0.667, 0.333]], [1, 1])
        """
        if self.decision == "likeliest":
            return super().apply_decision(values, parameters)
        last = values.shape[1] - 1
        expected = _expected(values)
        moved = np.interp(expected, [0, *parameters, last], [0, *(np.arange(last) + 0.5), last])
        beyond = np.where(moved > expected, np.floor(moved) + 1, np.ceil(moved) - 1).clip(0, last)
        share = np.divide(moved - expected, beyond - expected, out=np.zeros(len(values)), where=moved != expected)
        return values * (1 - share[:, None]) + np.eye(last + 1)[beyond.astype(int)] * share[:, None]

    def is_decision_of(self, decided: np.ndarray, values: np.ndarray, *, within: float) -> bool:
        """Return whether expected labels keep their order and one of each row's takes a share of the others, or scales do."""
        if self.decision == "likeliest":
            return super().is_decision_of(decided, values, within=within)
        order, taking = np.argsort(_expected(values), kind="stable"), (decided - values).argmax(axis=1)[:, None]
        left, whole = (1 - np.take_along_axis(part, taking, axis=1) for part in (decided, values))
        kept = np.divide(left, whole, out=np.ones_like(whole), where=whole > within)
        again = values * kept + np.eye(values.shape[1])[taking[:, 0]] * (1 - kept)
        is_in_order = (np.diff(_expected(decided)[order]) >= -within).all()
        return bool(is_in_order and np.abs(decided - again).max() <= within)

    def describe(
        self, targets: np.ndarray, values: np.ndarray, *, labels: list[str], row_ids: list[str], decision: Any
    ) -> dict[str, Any]:
        """Return what the report shows of classes, and how far off each label's rows are.

        Calibration is left out where thresholds moved the probabilities.
        """
        shown = super().describe(targets, values, labels=labels, row_ids=row_ids, decision=decision)
        if self.decision == "likeliest":
            return shown
        table = _by_label(np.array(shown["confusion"]), labels, decision)
        return shown | {"tables": [table]} | ({"calibration": []} if decision else {})


def _expected(values: np.ndarray) -> np.ndarray:
    """Return the expected places of labels (N,) under probabilities (N, C)."""
    expected: np.ndarray = values @ np.arange(values.shape[1])
    return expected


def _by_label(counts: np.ndarray, labels: Sequence[str], thresholds: Sequence[float] | None) -> dict[str, Any]:
    distances = np.abs(np.subtract.outer(np.arange(len(labels)), np.arange(len(labels))))
    off = [(counts * part).sum(axis=1).tolist() for part in (distances == 0, distances == 1, distances > 1)]
    ups = [None, *(thresholds or np.arange(len(labels) - 1) + 0.5)]
    rows = [
        list(row)
        for row in zip(labels, counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist(), *off, ups, strict=True)
    ]
    note = f"Of the out-of-fold predictions: the expected label, 0 being {labels[0]!r}, rounded up to each."
    return {"title": "Labels", "columns": COLUMNS, "rows": rows, "note": note + MOVED * bool(thresholds)}
