"""Greedy selection: models are added one by one, with replacement, each time the one that helps the metric most.

Source: Caruana et al., Ensemble Selection from Libraries of Models, 2004, https://doi.org/10.1145/1015330.1015432
Differs from the paper: the best prefix of the selection is kept; bagging over models is off unless asked for.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.contracts import Metric
from pipeline.ensemble.forms import Stateful
from pipeline.ranges import PositiveInt

REFIT = "quick"


@dataclass
class Greedy(Stateful):
    """A weighted mean whose weights are counts of selections."""

    metric: Metric
    seed: int
    n_steps: int
    n_bags: int

    def fit(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Select on probabilities (N, M, C) and int labels (N,); of equally good models the first in order is taken."""
        n_models = probabilities.shape[1]
        generator = np.random.default_rng(self.seed)
        total = np.zeros(n_models)
        for _ in range(self.n_bags):
            size = n_models if self.n_bags == 1 else (n_models + 1) // 2
            bag = np.sort(generator.choice(n_models, size, replace=False))
            total[bag] += self._select(probabilities[:, bag], labels)
        self.fitted = {"shares": [float(share) for share in total / total.sum()]}

    def _select(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the shares of the best prefix of one selection."""
        n_models = probabilities.shape[1]
        counts, best_counts, best = np.zeros(n_models), np.eye(n_models)[0], -np.inf
        running = np.zeros_like(probabilities[:, 0])
        for step in range(self.n_steps):
            means = ((running + probabilities[:, model]) / (step + 1) for model in range(n_models))
            scores = np.nan_to_num([self.metric.sign * self.metric.score(labels, mean) for mean in means], nan=-np.inf)
            chosen = int(np.argmax(scores))
            counts[chosen] += 1
            running += probabilities[:, chosen]
            if scores[chosen] > best:
                best, best_counts = scores[chosen], counts.copy()
        return best_counts / best_counts.sum()

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) for probabilities (N, M, C)."""
        return np.einsum("nmc,m->nc", probabilities, np.array(self.fitted["shares"]))

    def weights(self) -> list[float]:
        """Return the shares of the selections."""
        shares: list[float] = self.fitted["shares"]
        return shares


def build(*, metric: Metric, seed: int, n_steps: PositiveInt = 30, n_bags: PositiveInt = 1) -> Greedy:
    """Return the stacker: at most `n_steps` selections; more than one bag averages selections among random halves."""
    return Greedy(metric, seed, n_steps, n_bags)
