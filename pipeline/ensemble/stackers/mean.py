"""Mean: every model counts the same. Fits nothing."""

from typing import Any

import numpy as np

REFIT = "nothing"
KEEPS_SINGLE = True


class Mean:
    """The mean of the models' probabilities."""

    n_models = 0

    def fit(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Note the number of models of probabilities (N, M, C)."""
        self.n_models = probabilities.shape[1]

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) for probabilities (N, M, C)."""
        return probabilities.mean(axis=1)

    def weights(self) -> list[float]:
        """Return equal shares."""
        return [1 / self.n_models] * self.n_models

    def state(self) -> dict[str, Any]:
        """Return the number of models."""
        return {"n_models": self.n_models}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` returned."""
        self.n_models = state["n_models"]


def build() -> Mean:
    """Return the stacker."""
    return Mean()
