"""Whether labels come in other shares in the test file than in the training file, by what models predict of both.

Source: Lipton et al., Detecting and Correcting for Label Shift with Black Box Predictors, 2018,
https://arxiv.org/abs/1802.03916, section 5 (a test of whether predicted labels are shared out alike). Differs from it: the
chi-square test, and cross-fitted models.
"""

import numpy as np
from scipy.stats import chi2_contingency

from pipeline.artifacts.scores import LabelShift

FORMS = ("class",)
FEWEST_EXPECTED = 5.0  # rows of a label on either side: with fewer chi-square does not hold, such labels go together


def label_shift(out_of_fold: np.ndarray, test: np.ndarray, *, labels: list[str]) -> LabelShift | None:
    """Return how surely, and by how much, predicted labels differ between out-of-fold and test rows; None where unknown.

    Args:
        out_of_fold: int (N,), the label predicted of each training row by its fold's model; no decision tuned.
        test: int (K, T), the label that each fold's model predicts of each test row in the same way. Each row takes that
            of one model in turns: a mean of models predicts common labels less often than one of them does.
        labels: their names.

    >>> shift = label_shift(np.repeat([0, 1], [50, 50]), np.repeat([[0, 1]], [20, 80], axis=1), labels=["no", "yes"])
    >>> shift["labels"], shift["p_value"] < 0.01
    ({'no': [0.5, 0.2], 'yes': [0.5, 0.8]}, True)
    """
    n_models, n_test = test.shape
    in_turns = test[np.arange(n_test) % n_models, np.arange(n_test)]
    counts = np.stack([np.bincount(side, minlength=len(labels)) for side in (out_of_fold, in_turns)])
    sizes = counts.sum(axis=1)
    expected = np.outer(sizes, counts.sum(axis=0)) / max(1, sizes.sum())
    rare = expected.min(axis=0) < FEWEST_EXPECTED
    compared = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    compared = compared[:, compared.sum(axis=0) > 0]
    if min(sizes) == 0 or compared.shape[1] < 2:
        return None
    shares = (counts / sizes[:, None]).T.tolist()
    p_value = float(chi2_contingency(compared, correction=False).pvalue)
    return LabelShift(p_value=p_value, labels=dict(zip(labels, shares, strict=True)))
