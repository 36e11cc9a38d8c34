"""What components of the ensemble share: the two forms of metrics, and a stacker's state."""

from collections.abc import Callable
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


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the quotient of two arrays, 0 where the denominator is 0.

    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    return np.divide(numerator, denominator, out=np.zeros(np.shape(denominator)), where=denominator != 0)
