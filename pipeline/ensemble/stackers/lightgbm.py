"""Boosted trees on the log-probabilities of all models: the rung that can bend. Small trees, strong regularisation.

Source: Ke et al., LightGBM, 2017, https://papers.nips.cc/paper/6907. Needs thousands of rows to beat a weighted mean.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.artifacts.predictions import log_columns
from pipeline.ensemble.forms import PerLabel
from pipeline.errors.exceptions import ParamsError

FORMS = ("class", "multilabel")


@dataclass
class LightGbm(PerLabel):
    """One tree per label and round over M * C columns, model by model; all C labels come out, absent ones too.

    Where a row may have several labels, each has trees of its own over its M * 2 columns, with a binary objective.
    """

    n_rounds: int
    parameters: dict[str, Any]

    def fit_classes(self, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Return what was fitted on probabilities (N, M, C) and int labels (N,)."""
        return self._train(probabilities, labels, {"objective": "multiclass", "num_class": probabilities.shape[2]})

    def fit_label(self, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Return what was fitted on probabilities (N, M, 2) of no and yes and on 0 and 1 (N,)."""
        return self._train(probabilities, labels, {"objective": "binary"})

    def _train(self, probabilities: np.ndarray, labels: np.ndarray, objective: dict[str, Any]) -> dict[str, Any]:
        import lightgbm

        columns = log_columns(probabilities)
        # Sums of floats depend on their order: sorted rows make the trees independent of the order they come in.
        order = np.lexsort((labels, *columns.T))
        data = lightgbm.Dataset(columns[order], labels[order], params={"verbose": -1})
        booster = lightgbm.train({**self.parameters, **objective}, data, num_boost_round=self.n_rounds)
        gains = booster.feature_importance("gain").reshape(-1, probabilities.shape[2]).sum(axis=1)
        return {"gains": gains.tolist(), "model": booster.model_to_string()}

    def predict_classes(self, state: dict[str, Any], probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) for probabilities (N, M, C)."""
        import lightgbm

        booster = lightgbm.Booster(model_str=state["model"])
        return np.asarray(booster.predict(log_columns(probabilities), num_threads=1))

    def predict_label(self, state: dict[str, Any], probabilities: np.ndarray) -> np.ndarray:
        """Return a label's probability (N,) for probabilities (N, M, 2) of no and yes."""
        return self.predict_classes(state, probabilities)

    def shares(self, state: dict[str, Any]) -> list[float] | None:
        """Return each model's share of the gain of all splits, or None if there is no split."""
        total = sum(state["gains"])
        return [gain / total for gain in state["gains"]] if total > 0 else None


def build(
    *, seed: int, n_rounds: int = 60, learning_rate: float = 0.05, n_leaves: int = 5, min_rows_per_leaf: int = 40,
    penalty: float = 10.0,
) -> LightGbm:  # fmt: skip
    """Return the stacker, deterministic on one thread.

    Raises:
        ParamsError: if `n_leaves` is not in [2, 7]: larger trees learn the out-of-fold rows by heart.
    """
    if not 2 <= n_leaves <= 7:
        raise ParamsError(f"stacker lightgbm: n_leaves must lie in [2, 7], got {n_leaves}. Lower it.")
    parameters = {
        "learning_rate": learning_rate, "num_leaves": n_leaves, "min_data_in_leaf": min_rows_per_leaf, "lambda_l2": penalty,
        "seed": seed, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbose": -1,
    }  # fmt: skip
    return LightGbm(n_rounds, parameters)
