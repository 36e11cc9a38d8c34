"""Mean: every model counts the same. Fits nothing."""

import numpy as np

from pipeline.ensemble.forms import Stateful

REFIT = "nothing"
KEEPS_SINGLE = True


class Mean(Stateful):
    """The mean of the models' probabilities."""

    def fit(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Note the number of models of probabilities (N, M, C)."""
        self.fitted = {"n_models": probabilities.shape[1]}

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) for probabilities (N, M, C)."""
        return probabilities.mean(axis=1)

    def weights(self) -> list[float]:
        """Return equal shares."""
        n_models: int = self.fitted["n_models"]
        return [1 / n_models] * n_models


def build() -> Mean:
    """Return the stacker."""
    return Mean()
