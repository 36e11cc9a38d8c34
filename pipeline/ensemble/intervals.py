"""Models scored on the same rows: bootstrap over clusters, paired intervals, and that of a score on rows not seen."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np

from pipeline.contracts import Metric

CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.959964  # of the two-sided 95 % interval
UNCERTAIN = 1 / 4  # standard error of what test rows gain, as a share of it: so far simulations saw it off
CHUNK_CELLS = 4_000_000  # weights held at once: 32 MB
Bounds = tuple[float | None, float | None]  # the lowest and the highest score there is, None without end


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval and standard error."""

    value: float
    low: float
    high: float
    standard_error: float

    def widened(self, factor: float) -> "Interval":
        """Return the same value with an interval and a standard error so many times as wide."""
        low, high = (self.value + factor * (end - self.value) for end in (self.low, self.high))
        return Interval(self.value, low, high, factor * self.standard_error)

    def within(self, bounds: Bounds) -> "Interval":
        """Return it cut where there is nothing beyond."""
        value, low, high = (within(end, bounds) for end in (self.value, self.low, self.high))
        return Interval(value, low, high, self.standard_error)


class Bootstrap(TypedDict):
    """How rows are drawn: those that share a value of `clusters` (N,) together, `n_resamples` times."""

    clusters: np.ndarray
    n_resamples: int
    seed: int


def cluster_weights(clusters: np.ndarray, *, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield chunks of bootstrap row weights (r, N), n_resamples in all: how often each row's cluster was drawn.

    As many clusters are drawn, with replacement, as there are; no chunk takes more than `CHUNK_CELLS` cells.
    """
    _, members = np.unique(clusters, return_inverse=True)
    n_clusters = int(members.max()) + 1
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK_CELLS // len(members))
    for start in range(0, n_resamples, size):
        n_rows = min(size, n_resamples - start)
        drawn = generator.integers(0, n_clusters, (n_rows, n_clusters))
        # Shifted apart, the draws of all resamples are counted at once.
        drawn += np.arange(n_rows)[:, None] * n_clusters
        counts = np.bincount(drawn.ravel(), minlength=n_rows * n_clusters).reshape(n_rows, n_clusters)
        yield counts[:, members].astype(np.float64)


def bootstrap_scores(
    labels: np.ndarray, candidates: Sequence[np.ndarray], *, metric: Metric, row_weights: np.ndarray | float = 1.0,
    **bootstrap: Unpack[Bootstrap],
) -> np.ndarray:  # fmt: skip
    """Return scores (candidates, n_resamples) of probabilities (N, C) against labels (N,), rows counting by their weights.

    All candidates are scored under the same resamples, so that their differences are paired.
    """
    chunks = (drawn * row_weights for drawn in cluster_weights(**bootstrap))
    return np.concatenate(
        [np.stack([metric.resampled(labels, values, weights) for values in candidates]) for weights in chunks], axis=1
    )


def interval(value: float, resampled: np.ndarray) -> Interval:
    """Return the 95 % percentile interval and the standard error; resamples without a score (NaN) do not count.

    A paired interval is the interval of the differences of two models' resampled scores.

    >>> round(interval(0.5, np.linspace(0, 1, 1001)).low, 3)
    0.025
    """
    known = resampled[np.isfinite(resampled)]
    if len(known) < 2:
        return Interval(value, float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(known, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Interval(value, float(low), float(high), float(known.std(ddof=1)))


def shifted(value: Interval, *, by: float, error: float) -> Interval:
    """Return the interval of a value plus something that is known up to a standard error, which adds to its own.

    >>> shifted(Interval(0.0, -0.03, 0.03, 0.015), by=0.5, error=0.04 / NORMAL_QUANTILE).high
    0.55
    """
    moved, half = value.value + by, NORMAL_QUANTILE * error
    low, high = (float(np.hypot(end - value.value, half)) for end in (value.low, value.high))
    return Interval(moved, moved - low, moved + high, float(np.hypot(value.standard_error, error)))


@dataclass(frozen=True)
class Comparison:
    """Candidates scored on the same rows under the same resamples, by their keys.

    `on_test` says what each one's score is expected to have more on test rows (see `ensemble.averaging`); a gain counts it
    where it is known of both. No score and no gain lies beyond the metric's `bounds`.
    """

    scores: dict[Any, float]
    resampled: dict[Any, np.ndarray]
    sign: int
    on_test: Mapping[Any, float] = field(default_factory=dict)
    bounds: Bounds = (None, None)

    def expected(self, key: Any) -> float:
        """Return the score that a candidate is expected to have on test rows."""
        return within(self.scores[key] + self.on_test.get(key, 0.0), self.bounds)

    @property
    def bounds_of_gain(self) -> Bounds:
        """Return the largest loss and the largest gain that the metric's bounds allow."""
        lowest, highest = self.bounds
        widest = None if lowest is None or highest is None else highest - lowest
        return (None if widest is None else -widest), widest

    def interval(self, key: Any) -> Interval:
        """Return a candidate's score with its interval."""
        return interval(self.scores[key], self.resampled[key])

    def score(self, key: Any) -> dict[str, float]:
        """Return a candidate's score and its 95 % interval as scores.json has them."""
        scored = self.interval(key)
        return {"score": scored.value, "low": scored.low, "high": scored.high}

    def gain(self, key: Any, over: Any) -> Interval:
        """Return how much better a candidate is than another one, on test rows where `on_test` knows both, paired."""
        difference = self.sign * (self.scores[key] - self.scores[over])
        paired = interval(difference, self.sign * (self.resampled[key] - self.resampled[over]))
        if not {key, over} <= self.on_test.keys():
            return paired
        more = self.sign * (self.expected(key) - self.expected(over)) - difference
        error = UNCERTAIN * abs(self.on_test[key] - self.on_test[over])
        return shifted(paired, by=more, error=error).within(self.bounds_of_gain)

    def best_by_chance(self, keys: Iterable[Any], over: Any) -> tuple[float, float]:
        """Return the gain that the best of some candidates shows over another if none is better: its mean and 95 % quantile.

        Their gains under the same resamples, each shifted to a mean of zero, are what chance alone makes of all at once.
        Source: White, A Reality Check for Data Snooping, 2000, https://doi.org/10.1111/1468-0262.00152.
        """
        gains = self.sign * np.stack([self.resampled[key] - self.resampled[over] for key in keys])
        gains = gains[:, np.isfinite(gains).all(axis=0)]
        if gains.shape[1] < 2:
            return float("nan"), float("nan")
        best = (gains - gains.mean(axis=1, keepdims=True)).max(axis=0)
        return float(best.mean()), float(np.quantile(best, CONFIDENCE))

    def best(self, keys: Iterable[Any]) -> Any:
        """Return the candidate with the best score, the first of equals; one without a score (NaN) comes last."""
        return max(keys, key=lambda key: -np.inf if np.isnan(self.scores[key]) else self.sign * self.scores[key])


def compare(
    labels: np.ndarray, candidates: Mapping[Any, np.ndarray], *, metric: Metric,
    on_test: Mapping[Any, float] | None = None, bounds: Bounds = (None, None), **bootstrap: Unpack[Bootstrap],
) -> Comparison:  # fmt: skip
    """Score candidates, probabilities (N, C) by key, on the same rows and resamples (see `bootstrap_scores`)."""
    resampled = bootstrap_scores(labels, list(candidates.values()), metric=metric, **bootstrap)
    scores = {key: metric.score(labels, probabilities) for key, probabilities in candidates.items()}
    return Comparison(scores, dict(zip(candidates, resampled, strict=True)), metric.sign, on_test or {}, bounds)


class Unseen(TypedDict):
    """How many rows made the score and how many wait, and the metric's bounds."""

    n_train: int
    n_test: int
    bounds: NotRequired[Bounds]


def unseen_interval(score: Interval, *, error: float = 0.0, **of: Unpack[Unseen]) -> tuple[float, float]:
    """Return the interval in which the score on `n_test` unseen rows lies with 95 % probability, cut at the metric's bounds.

    The out-of-fold score has the error of a sample of n_train rows, s / sqrt(n_train); the test score is itself the
    score of a sample and has s / sqrt(n_test). Their difference has s * sqrt(1 / n_train + 1 / n_test), which is the
    out-of-fold standard error times sqrt(1 + n_train / n_test). It holds for test rows drawn like the training rows.

    >>> low, high = unseen_interval(Interval(0.8, 0.79, 0.81, 0.005), n_train=3000, n_test=1000)
    >>> round(low, 4), round(high, 4)
    (0.7804, 0.8196)
    """
    n_train, n_test = of["n_train"], of["n_test"]
    if n_test == 0:
        return float("nan"), float("nan")
    half = NORMAL_QUANTILE * float(np.hypot(score.standard_error * np.sqrt(1 + n_train / n_test), error))
    bounds = of.get("bounds", (None, None))
    return within(score.value - half, bounds), within(score.value + half, bounds)


def within(score: float, bounds: Bounds) -> float:
    """Return a score, or the bound that it lies beyond.

    >>> within(1.02, (0, 1)), within(1.02, (0, None))
    (1.0, 1.02)
    """
    lowest, highest = bounds
    return float(np.clip(score, -np.inf if lowest is None else lowest, np.inf if highest is None else highest))
