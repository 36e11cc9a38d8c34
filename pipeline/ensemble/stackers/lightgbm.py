"""Boosted trees on the log-probabilities of all models: the rung that can bend. Small trees, strong regularisation.

Source: Ke et al., LightGBM, 2017, https://papers.nips.cc/paper/6907. Needs thousands of rows to beat a weighted mean.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from pipeline.artifacts.predictions import log_columns
from pipeline.ensemble.forms import Stateful
from pipeline.ranges import NotNegativeFloat, PositiveInt, Share

FORMS = ("class",)


@dataclass
class LightGbm(Stateful):
    """One tree per label and round over M * C columns, model by model; all C labels come out, absent ones too."""

    n_rounds: int
    parameters: dict[str, Any]

    def fit(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Fit on probabilities (N, M, C) and int labels (N,)."""
        import lightgbm

        columns = log_columns(probabilities)
        # Sums of floats depend on their order: sorted rows make the trees independent of the order they come in.
        order = np.lexsort((labels, *columns.T))
        n_outputs = probabilities.shape[2]
        data = lightgbm.Dataset(columns[order], labels[order], params={"verbose": -1})
        parameters = {**self.parameters, "objective": "multiclass", "num_class": n_outputs}
        booster = lightgbm.train(parameters, data, num_boost_round=self.n_rounds)
        gains = booster.feature_importance("gain").reshape(-1, n_outputs).sum(axis=1)
        self.fitted = {"gains": gains.tolist(), "model": booster.model_to_string()}

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) for probabilities (N, M, C)."""
        import lightgbm

        booster = lightgbm.Booster(model_str=self.fitted["model"])
        return np.asarray(booster.predict(log_columns(probabilities), num_threads=1))

    def weights(self) -> list[float] | None:
        """Return each model's share of the gain of all splits, or None if there is no split."""
        total = sum(self.fitted["gains"])
        return [gain / total for gain in self.fitted["gains"]] if total > 0 else None


def build(
    *,
    seed: int,
    n_rounds: PositiveInt = 60,
    learning_rate: Share = 0.05,
    n_leaves: Annotated[int, Field(ge=2, le=7)] = 5,
    min_rows_per_leaf: PositiveInt = 40,
    penalty: NotNegativeFloat = 10.0,
) -> LightGbm:
    """Return the stacker, deterministic on one thread. Trees of more leaves would learn the out-of-fold rows by heart."""
    parameters = {
        "learning_rate": learning_rate, "num_leaves": n_leaves, "min_data_in_leaf": min_rows_per_leaf, "lambda_l2": penalty,
        "seed": seed, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbose": -1,
    }  # fmt: skip
    return LightGbm(n_rounds, parameters)
