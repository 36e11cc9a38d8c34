"""Median: half of the models say less, half say more; one that errs far does not count. Fits nothing."""

import numpy as np

from pipeline.ensemble.forms import Stateful

FORMS = ("number",)
REFIT = "nothing"


class Median(Stateful):
    """The median of the models' numbers."""

    def fit(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Do nothing."""

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """Return numbers (N, V) for numbers (N, M, V)."""
        return np.median(probabilities, axis=1)

    def weights(self) -> None:
        """Return None: which model counts changes from row to row."""


def build() -> Median:
    """Return the stacker."""
    return Median()
