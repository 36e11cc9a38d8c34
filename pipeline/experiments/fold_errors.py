"""How surely a mean over folds is known, although the folds' models share most of their training rows.

Two models of k-fold cross-validation share k - 2 of k - 1 parts of their training rows, so folds are not independent: the
usual s² / J of J folds is too small. Corrected, the variance of the mean is (1 / J + n_test / n_train) s², on J - 1 degrees
of freedom. Source: Nadeau & Bengio, Inference for the Generalization Error, 2003, sec. 3,
https://doi.org/10.1023/A:1024068626366; over repeated cross-validation: Bouckaert & Frank, 2004,
https://doi.org/10.1007/978-3-540-24775-3_3.
Differs from them: a value of a fold is the mean over its seeds. Counted as folds of their own, seeds would make an error
that no number of seeds brings down, as all share the fold's rows.
"""

import numpy as np
from scipy import stats

from pipeline.ensemble.intervals import CONFIDENCE, Interval

N_DRAWS = 20_000


def fold_interval(values: np.ndarray, *, ratio: float) -> Interval:
    """Return the mean of the folds' values (J,) with its corrected error and 95 % interval; folds without one (NaN) aside.

    Args:
        values: per fold of each repeat, such as the difference of two models' scores.
        ratio: rows scored in a fold over rows trained on, n_test / n_train.

    >>> [round(part, 4) for part in vars(fold_interval(np.array([0.02, 0.01, 0.03, 0.0, 0.04]), ratio=1 / 4)).values()]
    [0.02, -0.0094, 0.0494, 0.0106]
    """
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return Interval(float(np.mean(known)) if len(known) else float("nan"), *3 * (float("nan"),))
    mean, error = float(known.mean()), float(np.sqrt((1 / len(known) + ratio) * known.var(ddof=1)))
    half = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1))
    return Interval(mean, mean - half, mean + half, error)


def best_by_chance(gains: np.ndarray, *, ratio: float, seed: int) -> tuple[float, float]:
    """Return the gain that the best of V variants shows if none is better: its mean and 95 % quantile.

    Drawn from the t distribution of all variants together: their gains per fold (V, J) give the covariance, corrected as in
    `fold_interval`. The mean of one degree of freedom does not exist (NaN).
    """
    known = gains[:, np.isfinite(gains).all(axis=0)]
    n_folds = known.shape[1]
    if n_folds < 2:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    away = known - known.mean(axis=1, keepdims=True)
    # away @ z has the covariance of the folds times (J - 1), however many variants there are.
    normal = away @ generator.normal(size=(n_folds, N_DRAWS)) / np.sqrt(n_folds - 1)
    scale = np.sqrt((1 / n_folds + ratio) * (n_folds - 1) / generator.chisquare(n_folds - 1, N_DRAWS))
    best = (scale * normal).max(axis=0)
    return float(best.mean()) if n_folds > 2 else float("nan"), float(np.quantile(best, CONFIDENCE))
