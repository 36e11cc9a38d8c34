"""Logistic stacking: a regularised multinomial regression on the standardised log-probabilities of all models.

Source: Wolpert, Stacked Generalization, 1992; Ting & Witten, Issues in Stacked Generalization, 1999 (probabilities in).
The penalty on the mean loss falls with the root of the number of rows: in simulations (docs/scores.md) that was nearest to
the best one from 500 to 10,000 rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from pipeline.artifacts.predictions import log_columns
from pipeline.ensemble.forms import PerLabel
from pipeline.ranges import PositiveFloat

FORMS = ("class", "multilabel")
SMALLEST = 0.1  # scale of a column: what hardly varies among the rows fitted may do so among others


@dataclass
class Logistic(PerLabel):
    """Coefficients over M * C columns, model by model; a label absent when fitting keeps the models' mean.

    Where a row may have several labels, each has coefficients of its own over its M * 2 columns.
    """

    inverse_penalty: float

    def fit_classes(self, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Return what was fitted on probabilities (N, M, C) and int labels (N,)."""
        from sklearn.linear_model import LogisticRegression

        columns = log_columns(probabilities)
        center, scale = columns.mean(axis=0), np.maximum(columns.std(axis=0), SMALLEST)
        present = np.unique(labels)
        coefficients, intercepts = np.zeros((len(present), columns.shape[1])), np.zeros(len(present))
        if len(present) > 1:
            model = LogisticRegression(C=self.inverse_penalty / np.sqrt(len(labels)), tol=1e-8, max_iter=2000)
            model.fit((columns - center) / scale, labels)
            # Of two labels scikit-learn keeps the second one's coefficients; the first one's are zero.
            coefficients[-len(model.coef_) :], intercepts[-len(model.coef_) :] = model.coef_, model.intercept_
        arrays = {"center": center, "scale": scale, "coefficients": coefficients, "intercepts": intercepts}
        known = {"present": present.tolist(), "n_models": probabilities.shape[1]}
        return known | {name: array.tolist() for name, array in arrays.items()}

    def predict_classes(self, state: dict[str, Any], probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) for probabilities (N, M, C)."""
        columns = (log_columns(probabilities) - state["center"]) / state["scale"]
        known = softmax(columns @ np.transpose(state["coefficients"]) + state["intercepts"], axis=1)
        result = probabilities.mean(axis=1)
        present = state["present"]
        absent = np.setdiff1d(np.arange(result.shape[1]), present)
        result[:, present] = known * (1 - result[:, absent].sum(axis=1, keepdims=True))
        return result

    def shares(self, state: dict[str, Any]) -> list[float] | None:
        """Return each model's share of the absolute coefficients, or None if all are zero."""
        sizes = np.abs(state["coefficients"]).sum(axis=0).reshape(state["n_models"], -1).sum(axis=1)
        return [float(share) for share in sizes / sizes.sum()] if sizes.sum() > 0 else None


def build(*, inverse_penalty: PositiveFloat = 2.0) -> Logistic:
    """Return the stacker; a smaller `inverse_penalty` shrinks the coefficients more."""
    return Logistic(inverse_penalty)
