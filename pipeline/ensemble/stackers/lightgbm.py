"""Boosted trees on the log-probabilities of all models: the rung that can bend. Small trees, strong regularisation.

Source: Ke et al., LightGBM, 2017, https://papers.nips.cc/paper/6907. Needs thousands of rows to beat a weighted mean.
A tree per label over the columns of all labels takes the square of their number. So of many labels each row's likeliest ones
become rows of their own, and one model says of any label whether it is the right one (one against the rest, with what is
learned shared by the labels, as in learning to rank); the others keep their shares of the mean.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from scipy.special import softmax

from pipeline.artifacts.predictions import log_columns
from pipeline.ensemble.forms import PerLabel
from pipeline.ranges import NotNegativeFloat, PositiveInt, Share

FORMS = ("class", "multilabel", "number")
MOST_LABELS = (
    30  # 25 took 2 s a fit, 100 took 14 s and 31 s (1,000 and 4,000 rows of 3 models); of likeliest labels below 1 s
)
N_LIKELIEST = 20


@dataclass
class LightGbm(PerLabel):
    """One tree per label and round over M * C columns, model by model; all C labels come out, absent ones too.

    Where a row may have several labels, each has trees of its own over its M * 2 columns, with a binary objective. Of numbers
    trees say by how much the models' mean is to be corrected.
    """

    n_rounds: int
    parameters: dict[str, Any]

    def fit_classes(self, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Return what was fitted on probabilities (N, M, C) and int labels (N,)."""
        n_outputs = probabilities.shape[2]
        if n_outputs > MOST_LABELS:
            return self._fit_likeliest(probabilities, labels)
        return self._fit_columns(probabilities, labels, {"objective": "multiclass", "num_class": n_outputs})

    def fit_label(self, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Return what was fitted on probabilities (N, M, 2) of no and yes and on 0 and 1 (N,)."""
        return self._fit_columns(probabilities, labels, {"objective": "binary"})

    def _fit_columns(self, probabilities: np.ndarray, labels: np.ndarray, objective: dict[str, Any]) -> dict[str, Any]:
        gains, model = self._trained(log_columns(probabilities), labels, objective)
        return {"gains": gains.reshape(probabilities.shape[1], -1).sum(axis=1).tolist(), "model": model}

    def _fit_likeliest(self, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        n_rows, n_models, n_outputs = probabilities.shape
        center = log_columns(probabilities).reshape(n_rows, n_models, n_outputs).mean(axis=0)  # (M, C)
        likeliest, columns = _likeliest(probabilities, center)
        right = likeliest == labels[:, None]
        gains, model = self._trained(columns, right.ravel().astype(np.int64), {"objective": "binary"})
        mean = probabilities.mean(axis=1)
        # The others' shares of the mean, made as large as the right label is often among them.
        outside = n_rows - np.take_along_axis(mean, likeliest, axis=1).sum()
        others = float((n_rows - right.sum() + 1) / (outside + 1))
        fitted = {"gains": gains.reshape(2, n_models).sum(axis=0).tolist(), "model": model}
        return fitted | {"center": center.tolist(), "others": min(1.0, others)}

    def _trained(self, columns: np.ndarray, targets: np.ndarray, objective: dict[str, Any]) -> tuple[np.ndarray, str]:
        """Return the gain of the splits on each column, and the model as text."""
        import lightgbm

        # Sums of floats depend on their order: sorted rows make the trees independent of the order they come in.
        order = np.lexsort((targets, *columns.T))
        data = lightgbm.Dataset(columns[order], targets[order], params={"verbose": -1})
        booster = lightgbm.train({**self.parameters, **objective}, data, num_boost_round=self.n_rounds)
        return booster.feature_importance("gain"), booster.model_to_string()

    def predict_classes(self, state: dict[str, Any], probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) for probabilities (N, M, C)."""
        import lightgbm

        booster = lightgbm.Booster(model_str=state["model"])
        if "center" not in state:
            return np.asarray(booster.predict(log_columns(probabilities), num_threads=1))
        likeliest, columns = _likeliest(probabilities, np.array(state["center"]))
        shares = np.asarray(booster.predict(columns, num_threads=1)).reshape(likeliest.shape)
        result = probabilities.mean(axis=1) * state["others"]
        np.put_along_axis(result, likeliest, 0.0, axis=1)
        left = 1 - result.sum(axis=1, keepdims=True)
        np.put_along_axis(result, likeliest, left * shares / shares.sum(axis=1, keepdims=True), axis=1)
        return result

    def predict_label(self, state: dict[str, Any], probabilities: np.ndarray) -> np.ndarray:
        """Return a label's probability (N,) for probabilities (N, M, 2) of no and yes."""
        return self.predict_classes(state, probabilities)

    def fit_numbers(self, values: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """Return what was fitted on numbers (N, M) and targets (N,)."""
        gains, model = self._trained(values, targets - values.mean(axis=1), {"objective": "regression"})
        return {"gains": gains.tolist(), "model": model}

    def predict_numbers(self, state: dict[str, Any], values: np.ndarray) -> np.ndarray:
        """Return numbers (N,) for numbers (N, M)."""
        import lightgbm

        corrections = lightgbm.Booster(model_str=state["model"]).predict(values, num_threads=1)
        return values.mean(axis=1) + np.asarray(corrections)

    def shares(self, state: dict[str, Any]) -> list[float] | None:
        """Return each model's share of the gain of all splits, or None if there is no split."""
        total = sum(state["gains"])
        return [gain / total for gain in state["gains"]] if total > 0 else None


def _likeliest(probabilities: np.ndarray, center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of each row's likeliest labels (N, K), and of each of them in turn the columns (N * K, 2 * M).

    They are, model by model, the label's log-probability less its mean over the rows that were fitted, `center` (M, C), since
    models favour labels, and how far that lies above the best other label's.
    """
    n_rows, n_models, n_outputs = probabilities.shape
    logs = log_columns(probabilities).reshape(n_rows, n_models, n_outputs) - center
    order = np.argsort(-probabilities.mean(axis=1) - softmax(logs.mean(axis=1), axis=1), axis=1, kind="stable")
    likeliest = order[:, :N_LIKELIEST]
    own = np.take_along_axis(logs, likeliest[:, None], axis=2)  # (N, M, K)
    second, best = np.moveaxis(np.partition(logs, -2, axis=2)[:, :, -2:], 2, 0)[..., None]
    columns = np.concatenate([own, own - np.where(own == best, second, best)], axis=1)  # (N, 2 * M, K)
    return likeliest, columns.transpose(0, 2, 1).reshape(-1, 2 * n_models)


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
