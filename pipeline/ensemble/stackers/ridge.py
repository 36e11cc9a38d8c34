"""Ridge stacking: the models' mean, corrected by a regularised regression on their standardised numbers.

Source: Breiman, Stacked Regressions, 1996, https://doi.org/10.1007/BF00117832
Differs from the paper: coefficients shrink to the mean's instead of being kept positive. In simulations of 2 to 10 models,
equal, unequal or shrunken, and 300 to 5,000 rows, penalty 1 was within 0.8 % of the best of 0.03 to 30.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.ensemble.forms import PerLabel
from pipeline.ranges import PositiveFloat

FORMS = ("number",)
REFIT = "quick"


@dataclass
class Ridge(PerLabel):
    """Coefficients over M columns, for each target by itself."""

    penalty: float

    def fit_numbers(self, values: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """Return what was fitted on numbers (N, M) and targets (N,)."""
        from sklearn.linear_model import Ridge as Regression

        center, scale = values.mean(axis=0), values.std(axis=0)
        scale[scale == 0] = 1.0
        model = Regression(alpha=self.penalty * np.sqrt(len(values)))
        model.fit((values - center) / scale, targets - values.mean(axis=1))
        coefficients = model.coef_ / scale
        return {"coefficients": coefficients.tolist(), "intercept": float(model.intercept_ - center @ coefficients)}

    def predict_numbers(self, state: dict[str, Any], values: np.ndarray) -> np.ndarray:
        """Return numbers (N,) for numbers (N, M)."""
        predicted: np.ndarray = values.mean(axis=1) + values @ state["coefficients"] + state["intercept"]
        return predicted

    def shares(self, state: dict[str, Any]) -> list[float] | None:
        """Return each model's share of the absolute coefficients, or None if all are zero."""
        sizes = np.abs(1 / len(state["coefficients"]) + np.array(state["coefficients"]))
        return [float(share) for share in sizes / sizes.sum()] if sizes.sum() > 0 else None


def build(*, penalty: PositiveFloat = 1.0) -> Ridge:
    """Return the stacker; a larger `penalty`, times the root of the number of rows, keeps it nearer to the mean."""
    return Ridge(penalty)
