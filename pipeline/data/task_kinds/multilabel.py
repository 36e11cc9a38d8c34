"""Multilabel: none, one or several of C labels, in a column of 0 and 1 each, or as names in one column."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from pipeline.contracts import DECIDED, PROBABILITY, Metric
from pipeline.data.class_targets import calibration_bins, order_labels
from pipeline.data.plausible_targets import plausible_labels
from pipeline.errors.exceptions import ParamsError
from pipeline.ranges import Name
from pipeline.targets.thresholds import best_thresholds

FORM = "multilabel"
LOSS = "bce"
SEVERAL_COLUMNS = True
YES, NO = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}
SMALLEST = 1e-12
FEWEST_POSITIVE = 20  # rows of a label: on fewer a threshold is noise
NEEDED_ERRORS = 1.0
N_DRAWS = 20
N_EXAMPLES, N_HARDEST = 5, 20
COLUMNS = ["Label", "Rows", "Decided", "Precision", "Recall", "F1", "Threshold"]
logger = logging.getLogger(__name__)


def build(*, separator: Name = " ", empty: Literal["missing", "none"] = "missing") -> "Multilabel":
    """Return the kind of task.

    Args:
        separator: stands between the names of one cell, in the files as in the submission.
        empty: what an empty cell says: that nobody knows the row's labels, or that it has none.
    """
    return Multilabel(separator, empty)


@dataclass(frozen=True)
class Multilabel:
    """A kind of task whose targets are int8 (N, C), 1 where a row has a label, and whose values are C probabilities."""

    separator: str = " "
    empty: str = "missing"
    form: str = FORM

    def cells(self, columns: pd.DataFrame, renamed: Mapping[str, str]) -> "pd.Series[str]":
        """Return the names of each row's labels, sorted; one column holds them itself, of several the names are those.

        A cell of several columns that says neither yes nor no stands as `name=cell` among the names.

        Raises:
            ParamsError: if a column's name holds the separator.
        """
        names = [renamed.get(str(name), str(name)) for name in columns.columns]
        if len(names) == 1:
            of_cells = {cell: self._names(cell) for cell in columns.iloc[:, 0].unique()}
            joined = {cell: self._joined({renamed.get(name, name) for name in of_cells[cell]}) for cell in of_cells}
            cells = columns.iloc[:, 0].map(joined).astype("str")
            return cells if self.empty == "none" else cells.where(cells != "", None)
        if broken := [name for name in names if self.separator in name]:
            raise ParamsError(
                f"kind multilabel: separator must stand in no label, got {self.separator!r} for {broken[0]!r}. Set another, "
                "such as ';'.",
                code="E203",
            )
        cells = pd.Series([self._joined(self._of_row(names, row)) for row in columns.itertuples(index=False)])
        cells = cells.set_axis(columns.index).astype("str")
        return cells.where((columns != "").any(axis=1), None)

    def _names(self, cell: str) -> set[str]:
        return {name for part in cell.split(self.separator) if (name := part.strip())}

    def _joined(self, names: set[str]) -> str:
        return self.separator.join(sorted(names))

    @staticmethod
    def _of_row(names: Sequence[str], cells: Sequence[str]) -> set[str]:
        said = {name: cell.strip().lower() for name, cell in zip(names, cells, strict=True)}
        strange = {f"{name}={cell}" for name, cell in said.items() if cell not in YES | NO}
        return strange | {name for name, cell in said.items() if cell in YES}

    def list_labels(self, cells: "pd.Series[str]", columns: Sequence[str]) -> list[str]:
        """Return the columns' names, in their order, or of one column the names that occur in it."""
        if len(columns) > 1:
            return list(columns)
        return order_labels(sorted(set().union(*map(self._names, cells.dropna().unique()))))

    def check(self, cells: "pd.Series[str]", labels: Sequence[str]) -> str | None:
        """Return what is wrong: too few labels, or one that all rows have, or none; rare labels are only warned of."""
        if len(labels) < 2:
            return f"must have at least two labels, got {len(labels)}: {list(labels)}"
        counts = self.read(cells, labels).sum(axis=0, dtype=np.int64)
        constant = {label: n for label, n in zip(labels, counts.tolist(), strict=True) if n in (0, len(cells))}
        if constant:
            first, n_rows = next(iter(constant.items()))
            more = f" and {len(constant) - 1} more such labels" if len(constant) > 1 else ""
            return f"must have rows with and without each label, got {n_rows} of {len(cells)} rows with {first!r}{more}"
        if few := _few(counts, labels):
            logger.warning("labels with fewer than %d rows, thresholds stay at 0.5: %s", FEWEST_POSITIVE, few)
        return None

    def faults(self, cells: "pd.Series[str]", labels: Sequence[str]) -> "pd.Series[str]":
        """Return what is wrong with the cells that name anything but labels."""
        known = set(labels)
        unknown = {
            cell: sorted(self._names(cell) - known) if isinstance(cell, str) else [cell] for cell in cells.unique()
        }
        strange = cells.map(unknown)
        strange = strange[strange.map(len) > 0]
        must = f"must be names of {list(labels)} with {self.separator!r} between them, or 0 and 1 in a column of each"
        return strange.map(lambda names: f"{must}, got {', '.join(map(repr, names[:N_EXAMPLES]))}")

    def read(self, cells: "pd.Series[str]", labels: Sequence[str]) -> np.ndarray:
        """Return 1 where a row has a label, else 0, int8 (N, C)."""
        codes, distinct = pd.factorize(cells)
        places = {label: number for number, label in enumerate(labels)}
        targets = np.zeros((len(distinct), len(labels)), np.int8)
        for row, cell in enumerate(distinct):
            targets[row, [places[name] for name in self._names(cell)]] = 1
        return targets[codes]

    def outputs(self, labels: Sequence[str]) -> list[str]:
        """Return the labels: a logit for each."""
        return list(labels)

    def strata(self, targets: np.ndarray, labels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Return which labels each row has, bool (N, C), and their names."""
        return targets.astype(bool), list(labels)

    def values(self, logits: np.ndarray) -> np.ndarray:
        """Return probabilities, float64 (N, C): the sigmoid of logits (N, C)."""
        probabilities: np.ndarray = expit(logits.astype(np.float64))
        return probabilities

    def logits(self, values: np.ndarray) -> np.ndarray:
        """Return log-odds, float32 (N, C), of probabilities clipped at both ends."""
        return logit(values.clip(SMALLEST, 1 - SMALLEST)).astype(np.float32)

    def sureness(self, logits: np.ndarray) -> np.ndarray:
        """Return the log-probability of what is decided of the label that is least sure (N,)."""
        least: np.ndarray = -np.logaddexp(0, -np.abs(logits.astype(np.float64))).max(axis=1)
        return least

    def decide(self, values: np.ndarray) -> np.ndarray:
        """Return 1 where a probability (N, C) is at least one half, else 0, int8 (N, C)."""
        return (values >= 0.5).astype(np.int8)

    def errors(self, targets: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the share of labels that are decided wrong (N,)."""
        wrong: np.ndarray = (self.decide(values) != targets).mean(axis=1)
        return wrong

    def needed_errors(self, values: np.ndarray, *, metric: Metric) -> float | None:
        """Return 1 where thresholds move what is scored."""
        return NEEDED_ERRORS if metric.reads == "labels" else None

    def fit_decision(self, targets: np.ndarray, values: np.ndarray, *, metric: Metric) -> list[float]:
        """Return the thresholds (C,) that score best; that of a label with fewer than `FEWEST_POSITIVE` rows stays at 0.5."""
        return best_thresholds(targets, values, fewest=FEWEST_POSITIVE, metric=metric).tolist()

    def apply_decision(self, values: np.ndarray, parameters: Sequence[float]) -> np.ndarray:
        """Return probabilities (N, C) whose odds are divided by those of the thresholds (C,), which come to lie at 0.5.

        >>> Multilabel().apply_decision(np.array([[0.3, 0.3]]), [0.5, 0.2]).round(3)
        array([[0.3  , 0.632]])
        """
        moved: np.ndarray = expit(logit(values.clip(SMALLEST, 1 - SMALLEST)) - logit(np.asarray(parameters)))
        return moved

    def is_decision_of(self, decided: np.ndarray, values: np.ndarray, *, within: float) -> bool:
        """Return whether thresholds make the first probabilities (N, C) of the second: constants added to their log-odds."""
        plain, moved = (logit(part.clip(SMALLEST, 1 - SMALLEST)) for part in (values, decided))
        return bool(np.abs(decided - expit(plain + np.median(moved - plain, axis=0))).max() <= within)

    def plausible_targets(
        self, targets: np.ndarray, values: np.ndarray, by_fold: np.ndarray, *, twins: np.ndarray, agreement: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return draws of S rows' labels and the twins' own, (J + 1, S, C), and how likely they are (J + 1, S).

        Each label is drawn by itself, as often as fold models and their calibration make it likely (`plausible_labels`).
        """
        alone = np.full(len(twins), -1)
        share = np.arange(N_DRAWS)[:, None] + 0.5
        generator, drawn = np.random.default_rng(0), np.zeros((N_DRAWS, *by_fold.shape[1:]), np.int8)
        for label in range(values.shape[1]):
            out_of_fold, of_folds = _two(values[:, label]), _two(by_fold[:, :, label])
            likely = plausible_labels(targets[:, label].astype(int), out_of_fold, of_folds, twins=alone, agreement=1.0)
            # In J draws a label stands as often as is likely, up to one: less noise than J tosses of a coin.
            places = generator.permuted(np.repeat(share, len(twins), axis=1), axis=0)
            drawn[:, :, label] = places < N_DRAWS * likely[:, 1]
        known = np.where(twins < 0, 0.0, agreement)
        weights = np.vstack([np.tile((1 - known) / N_DRAWS, (N_DRAWS, 1)), known])
        return np.concatenate([drawn, targets[twins][None]]), weights

    def describe(
        self, targets: np.ndarray, values: np.ndarray, *, labels: list[str], row_ids: list[str], decision: Any
    ) -> dict[str, Any]:
        """Return what the report shows: a line per label, the hardest rows, and the calibration of all labels together.

        The latter only where no thresholds moved the probabilities.
        """
        decided = self.decide(values)
        counts = targets.sum(axis=0, dtype=np.int64)
        few = _few(counts, labels)
        note = f"Thresholds of these labels stay at 0.5, they have fewer than {FEWEST_POSITIVE} training rows: {few}."
        return {
            "tables": [_by_label(targets, decided, labels, decision or [0.5] * len(labels))],
            "notes": [note] if few and decision else [],
            "calibration": [] if decision else calibration_bins(targets.ravel().astype(int), _two(values.ravel())),
            "hardest": self._hardest(targets, values, labels=labels, row_ids=row_ids),
        }

    def _hardest(
        self, targets: np.ndarray, values: np.ndarray, *, labels: list[str], row_ids: list[str]
    ) -> list[dict[str, Any]]:
        logs = np.log(np.where(targets, values, 1 - values).clip(SMALLEST)).sum(axis=1)
        shown = np.argsort(logs, kind="stable")[:N_HARDEST]
        predicted = self.answers(values[shown], labels)["label"]
        true = [self.separator.join(np.array(labels)[targets[row] > 0]) for row in shown]
        return [
            {"row_id": row_ids[row], "label": label, "predicted": said, "probability": float(np.exp(logs[row]))}
            for row, label, said in zip(shown, true, predicted, strict=True)
        ]

    def answers(self, values: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
        """Return what a submission may show: `label`, the names, and `decided:` (0 or 1) and `probability:<label>` of each.

        >>> Multilabel().answers(np.array([[0.75, 0.5]]), ["calm", "glad"])["label"].tolist()
        ['calm glad']
        """
        decided, names = self.decide(values), np.array(labels, object)
        frame = pd.DataFrame({"label": [self.separator.join(names[row > 0]) for row in decided]})
        shown = {DECIDED: decided.astype(str), PROBABILITY: values}
        parts = [pd.DataFrame(array, columns=[prefix + label for label in labels]) for prefix, array in shown.items()]
        return pd.concat([frame, *parts], axis=1)


def _few(counts: np.ndarray, labels: Sequence[str]) -> str:
    """Name the labels with too few rows for a threshold, some of them, with how many they have."""
    few = [f"{label!r} ({n})" for label, n in zip(labels, counts.tolist(), strict=True) if n < FEWEST_POSITIVE]
    return ", ".join(few[:N_EXAMPLES]) + (f" and {len(few) - N_EXAMPLES} more" if len(few) > N_EXAMPLES else "")


def _two(values: np.ndarray) -> np.ndarray:
    """Return the probabilities (..., 2) of no and yes."""
    return np.stack([1 - values, values], axis=-1)


def _by_label(
    targets: np.ndarray, decided: np.ndarray, labels: Sequence[str], thresholds: Sequence[float]
) -> dict[str, Any]:
    right, true, said = ((targets & decided).sum(axis=0), targets.sum(axis=0), decided.sum(axis=0))
    numbers = zip(labels, right.tolist(), true.tolist(), said.tolist(), thresholds, strict=True)
    rows = [
        [label, n_true, n_said, r / n_said if n_said else None, r / n_true if n_true else None, 2 * r / both, threshold]
        for label, r, n_true, n_said, threshold in numbers
        if (both := max(1, n_true + n_said))
    ]
    note = (
        "Of the out-of-fold predictions; each fold was decided by thresholds of the others, these are the final ones."
    )
    return {"title": "Labels", "columns": COLUMNS, "rows": rows, "note": note}
