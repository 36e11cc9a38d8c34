"""What components of the ensemble share: the forms of metrics and of stackers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.sparse import csr_array

from pipeline.contracts import Metric
from pipeline.data.class_targets import confusion


@dataclass
class ConfusionMetric(Metric):
    """A metric of predicted labels: a function of confusion counts (..., C, C), true label first, to scores (...)."""

    n_outputs: int
    decide: Callable[[np.ndarray], np.ndarray]
    from_confusion: Callable[[np.ndarray], np.ndarray]
    higher_is_better: bool = True
    reads: Literal["labels", "probabilities"] = "labels"

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """Return the score of what is decided for probabilities (N, C) against int labels (N,)."""
        counts = confusion(labels, self.decide(probabilities), n_outputs=self.n_outputs)
        return float(self.from_confusion(counts.astype(np.float64)))

    def resampled(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the scores (R,) under row weights (R, N): one sparse product gives all R confusions."""
        cells = labels * self.n_outputs + self.decide(probabilities)
        rows = np.arange(len(cells))
        indicator = csr_array((np.ones(len(cells)), (cells, rows)), shape=(self.n_outputs**2, len(cells)))
        counts = (indicator @ np.ascontiguousarray(weights.T, dtype=np.float64)).T
        return self.from_confusion(counts.reshape(-1, self.n_outputs, self.n_outputs))


@dataclass
class LabelMetric(ConfusionMetric):
    """A metric of how many rows rightly are given, have, and are given each label: of those counts (..., C) scores (...).

    Labels are (N,), one of each row, or 0 and 1 (N, C), where a row may have several.
    """

    from_confusion: Callable[[np.ndarray], np.ndarray] = field(init=False)
    from_counts: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] = field(kw_only=True)
    of_counts: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        """Count labels from confusions."""
        self.from_confusion = lambda counts: self.from_counts(*counts_of_confusion(counts))

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """Return the score of what is decided for probabilities (N, C)."""
        if labels.ndim == 1:
            return super().score(labels, probabilities)
        parts = self._parts(labels, probabilities)
        return float(self.from_counts(*(part.sum(axis=0, dtype=np.float64) for part in parts)))

    def resampled(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the scores (R,) under row weights (R, N)."""
        if labels.ndim == 1:
            return super().resampled(labels, probabilities, weights)
        columns = np.ascontiguousarray(weights.T, dtype=np.float64)
        parts = self._parts(labels, probabilities)
        return self.from_counts(*((csr_array(part.T.astype(np.float64)) @ columns).T for part in parts))

    def _parts(self, labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        decided = self.decide(probabilities)
        return labels & decided, labels, decided


@dataclass
class RowMetric(Metric):
    """A metric of decisions that is the mean of a score of each row."""

    decide: Callable[[np.ndarray], np.ndarray]
    from_rows: Callable[[np.ndarray, np.ndarray], np.ndarray]
    higher_is_better: bool = True
    reads: Literal["labels", "probabilities"] = "labels"

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """Return the score of what is decided for probabilities (N, C) against targets (N, …)."""
        return float(self.from_rows(labels, self.decide(probabilities)).mean())

    def resampled(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the scores (R,) under row weights (R, N)."""
        scores: np.ndarray = weights @ self.from_rows(labels, self.decide(probabilities)) / weights.sum(axis=1)
        return scores


@dataclass
class ProbabilityMetric(Metric):
    """A metric of the probabilities themselves, given by its function of row weights."""

    from_weights: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    higher_is_better: bool
    reads: Literal["labels", "probabilities"] = "probabilities"

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """Return the score of probabilities (N, C) against int labels (N,)."""
        return float(self.from_weights(labels, probabilities, np.ones((1, len(labels))))[0])

    def resampled(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the scores (R,) under row weights (R, N)."""
        return self.from_weights(labels, probabilities, weights)


@dataclass
class WithinFolds(Metric):
    """A metric of the order of rows, as the mean over folds (N,): values of different models have no order in common."""

    metric: Metric
    folds: np.ndarray

    def __post_init__(self) -> None:
        """Be as the metric is."""
        self.higher_is_better, self.reads = self.metric.higher_is_better, self.metric.reads

    def score(self, labels: np.ndarray, probabilities: np.ndarray) -> float:
        """Return the score of probabilities (N, C) against int labels (N,)."""
        return float(self.resampled(labels, probabilities, np.ones((1, len(labels))))[0])

    def resampled(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the scores (R,) under row weights (R, N); NaN where no fold has one."""
        scores, sizes = [], []
        for fold in np.unique(self.folds):
            rows = self.folds == fold
            scores.append(self.metric.resampled(labels[rows], probabilities[rows], weights[:, rows]))
            sizes.append(weights[:, rows].sum(axis=1))
        by_fold, by_size = np.stack(scores), np.stack(sizes)
        by_size[np.isnan(by_fold)] = 0.0
        total = by_size.sum(axis=0)
        mean = (np.nan_to_num(by_fold) * by_size).sum(axis=0)
        return np.divide(mean, total, out=np.full(len(total), np.nan), where=total > 0)


@dataclass
class Stateful:
    """A stacker all of whose state, as JSON, is what it `fitted`."""

    fitted: dict[str, Any] = field(default_factory=dict, kw_only=True)

    def state(self) -> dict[str, Any]:
        """Return what was fitted."""
        return self.fitted

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` returned."""
        self.fitted = state


@dataclass
class PerLabel(Stateful):
    """A stacker of classes that also serves labels of which a row may have several: yes or no of each label by itself.

    Or one of numbers: each column by itself, on the rows whose target is known.
    """

    def fit(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Fit on probabilities (N, M, C) and labels, int (N,), or 0 and 1 (N, C); or on numbers (N, M, V) and (N, V)."""
        if labels.dtype.kind == "f":
            columns = zip(np.moveaxis(probabilities, 2, 0), labels.T, ~np.isnan(labels.T), strict=True)
            states = [
                self.fit_numbers(of[known], target[known]) if known.any() else None for of, target, known in columns
            ]
            self.fitted = {"columns": states}
            return
        if labels.ndim == 1:
            self.fitted = self.fit_classes(probabilities, labels)
            return
        parts = enumerate(yes_or_no(probabilities))
        self.fitted = {"labels": [self.fit_label(part, labels[:, number].astype(int)) for number, part in parts]}

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) for probabilities (N, M, C), or numbers (N, V); the mean where no target was known."""
        if "columns" in self.fitted:
            columns = zip(self.fitted["columns"], np.moveaxis(probabilities, 2, 0), strict=True)
            return np.stack(
                [self.predict_numbers(of, values) if of else values.mean(axis=1) for of, values in columns], 1
            )
        if "labels" not in self.fitted:
            return self.predict_classes(self.fitted, probabilities)
        pairs = zip(self.fitted["labels"], yes_or_no(probabilities), strict=True)
        return np.stack([self.predict_label(state, part) for state, part in pairs], axis=1)

    def weights(self) -> list[float] | None:
        """Return each model's share, the mean over the labels that have one, or None."""
        states = self.fitted.get("labels") or self.fitted.get("columns") or [self.fitted]
        shares = [share for state in states if state and (share := self.shares(state))]
        return np.mean(shares, axis=0).tolist() if shares else None

    def fit_classes(self, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Return the state of a stacker fitted on probabilities (N, M, C) and int labels (N,)."""
        raise NotImplementedError

    def predict_classes(self, state: dict[str, Any], probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) for probabilities (N, M, C)."""
        raise NotImplementedError

    def fit_label(self, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Return the state of a stacker of one label, fitted on probabilities (N, M, 2) of no and yes and on 0 and 1 (N,)."""
        return self.fit_classes(probabilities, labels)

    def predict_label(self, state: dict[str, Any], probabilities: np.ndarray) -> np.ndarray:
        """Return a label's probability (N,) for probabilities (N, M, 2) of no and yes."""
        return self.predict_classes(state, probabilities)[:, 1]

    def fit_numbers(self, values: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """Return the state of a stacker of one column, fitted on numbers (N, M) and targets (N,)."""
        raise NotImplementedError

    def predict_numbers(self, state: dict[str, Any], values: np.ndarray) -> np.ndarray:
        """Return a column's numbers (N,) for numbers (N, M)."""
        raise NotImplementedError

    def shares(self, state: dict[str, Any]) -> list[float] | None:
        """Return the share of each of the M models, or None."""
        raise NotImplementedError


def yes_or_no(probabilities: np.ndarray) -> Iterator[np.ndarray]:
    """Yield of each label the probabilities (N, M, 2) of no and yes, for probabilities (N, M, C)."""
    for number in range(probabilities.shape[2]):
        of_label = probabilities[:, :, number]
        yield np.stack([1 - of_label, of_label], axis=2)


def counts_of_confusion(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how many rows rightly are given, have, and are given each label (..., C), for counts (..., C, C).

    >>> [part.tolist() for part in counts_of_confusion(np.array([[3, 1], [0, 4]]))]
    [[3, 4], [4, 4], [3, 5]]
    """
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the quotient of two arrays, 0 where the denominator is 0.

    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    return np.divide(numerator, denominator, out=np.zeros(np.shape(denominator)), where=denominator != 0)
