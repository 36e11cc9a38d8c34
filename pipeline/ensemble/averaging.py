"""What scores test rows and not out-of-fold ones: the mean of all fold models, and training rows that say the same.

Nothing of it takes test labels: fold models and such twins say which targets the test rows may have
(`TaskKind.plausible_targets`), and the metric is expected over those, for single fold models as for their mean.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.contracts import Metric
from pipeline.ensemble.intervals import UNCERTAIN
from pipeline.ensemble.members import Candidate, Members


@dataclass(frozen=True)
class GainOnTest:
    """What the score on the test rows is expected to have more than that out-of-fold: of a loss, below zero is better."""

    averaging: float = 0.0
    twins: float = 0.0

    @property
    def value(self) -> float:
        """Return the whole difference."""
        return self.averaging + self.twins

    @property
    def standard_error(self) -> float:
        """Return its standard error."""
        return UNCERTAIN * float(np.hypot(self.averaging, self.twins))


def gain_on_test(candidate: Candidate, members: Members, *, metric: Metric) -> GainOnTest:
    """Return what a candidate gains on the test rows by averaging its fold models, and by twins among the training rows."""
    if not len(members.sampled):
        return GainOnTest()
    labels, twins = members.train.labels, members.twins[members.sampled]
    possible, weights = members.kind.plausible_targets(
        labels, candidate.out_of_fold, candidate.by_fold, twins=twins, agreement=members.agreement
    )

    def expected(values: np.ndarray, rows: np.ndarray) -> float:
        targets = possible[:, rows].reshape(-1, *possible.shape[2:])
        decided = np.tile(candidate.decide(values)[rows], (len(possible), 1))
        return float(metric.resampled(targets, decided, weights[:, rows].reshape(1, -1))[0])

    alone, everyone = twins < 0, np.ones(len(twins), bool)
    if not alone.any():
        known = metric.score(labels, candidate.decide(candidate.out_of_fold))
        return _finite(0.0, expected(candidate.mean, everyone) - known)
    averaged = expected(candidate.mean, alone)
    single = float(np.mean([expected(values, alone) for values in candidate.by_fold]))
    return _finite(averaged - single, 0.0 if alone.all() else expected(candidate.mean, everyone) - averaged)


def _finite(averaging: float, twins: float) -> GainOnTest:
    """Return both, 0 where a metric is not defined on the sampled rows."""
    return GainOnTest(*(float(np.nan_to_num(value)) for value in (averaging, twins)))
