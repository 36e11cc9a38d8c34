"""Two predictions of the same rows compared, paired by row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import Metric
from pipeline.ensemble.intervals import Interval, bootstrap_scores, interval
from pipeline.ensemble.stacking import Rows

Key = tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """Candidates scored on the same rows under the same resamples, by their keys."""

    scores: dict[Key, float]
    resampled: dict[Key, np.ndarray]
    sign: int

    def score(self, one: Key) -> dict[str, float]:
        """Return a candidate's score and its 95 % interval."""
        own = interval(self.scores[one], self.resampled[one])
        return {"score": own.value, "low": own.low, "high": own.high}

    def gain(self, one: Key, over: Key) -> Interval:
        """Return how much better a candidate is than another one, with the paired interval."""
        difference = self.sign * (self.scores[one] - self.scores[over])
        return interval(difference, self.sign * (self.resampled[one] - self.resampled[over]))

    def best(self, keys: Iterable[Key]) -> Key:
        """Return the candidate with the best score, the first of equals; one without a score (NaN) comes last."""
        return max(keys, key=lambda key: -np.inf if np.isnan(self.scores[key]) else self.sign * self.scores[key])


def compare(
    rows: Rows, candidates: Mapping[Key, np.ndarray], *, metric: Metric, n_resamples: int, seed: int
) -> Comparison:
    """Score candidates, probabilities (N, C) by key, on N rows and under the same resamples of their clusters."""
    resampled = bootstrap_scores(
        rows.labels,
        list(candidates.values()),
        metric=metric,
        clusters=rows.clusters,
        n_resamples=n_resamples,
        seed=seed,
    )
    scores = {key: metric.score(rows.labels, one) for key, one in candidates.items()}
    return Comparison(scores, dict(zip(candidates, resampled, strict=True)), 1 if metric.higher_is_better else -1)
