"""Mean of ranks: each model's probabilities of a label become ranks in (0, 1), which hides how sure the model is.

Good for metrics that read an order, such as auc, and for models of unlike calibration. Ranks are taken within the rows
given, so a test set is ranked within itself, and the shares of the labels are lost: for metrics of labels it needs a
tuned decision, or loses to the plain mean on the ladder.
"""

import numpy as np
from scipy.stats import rankdata

from pipeline.ensemble.stackers.mean import Mean

FORMS = ("class", "multilabel")
REFIT = "nothing"


class RankMean(Mean):
    """The mean of the models' ranks, made to sum to 1 over the labels unless a row may have several."""

    def fit(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Note the number of models of probabilities (N, M, C), and whether labels are several per row, (N, C)."""
        super().fit(probabilities, labels)
        if labels.ndim == 2:
            self.fitted["several"] = True

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) for probabilities (N, M, C), ranked among these N rows; ties share their mean."""
        ranks = rankdata(probabilities, axis=0) / (len(probabilities) + 1)  # (N, M, C)
        mean = super().predict(ranks)
        return mean if self.fitted.get("several") else mean / mean.sum(axis=1, keepdims=True)


def build() -> RankMean:
    """Return the stacker."""
    return RankMean()
