"""What numbers test rows may have, as far as fold models tell: the mean prediction, calibrated, and residuals around it.

Fold models err together and each by itself; their mean has less of the latter. Of a number t and fold models' predictions
y_f, cov(t, y_f) = cov(t, mean y): so the slope of t on the mean is that on a single model, which out-of-fold rows tell,
times var(y_f) / var(mean y), and less of t is left to residuals. Then a single fold model errs on test rows as much as
out-of-fold, and the mean by the models' ambiguity less.
Source: Krogh & Vedelsby, Neural Network Ensembles, Cross Validation, and Active Learning, 1995 (an ensemble's error is that
of single models less their ambiguity).
"""

import numpy as np

N_DRAWS = 20


def plausible_numbers(targets: np.ndarray, out_of_fold: np.ndarray, by_fold: np.ndarray, *, seed: int) -> np.ndarray:
    """Return draws (J, S) of the numbers of S test rows.

    Args:
        targets: of the training rows (N,), NaN where missing.
        out_of_fold: what was predicted of them (N,).
        by_fold: what each fold's model predicts of the test rows (K, S).
        seed: of which row gets which residual.
    """
    known = ~np.isnan(targets)
    targets, out_of_fold = targets[known], out_of_fold[known]
    slope, explained = _fit(targets, out_of_fold)
    mean = by_fold.mean(axis=0)
    single, averaged = by_fold.var(axis=1).mean(), mean.var()
    sharper = float(single / averaged) if averaged > 0 else 1.0
    residuals = np.sort(targets - targets.mean() - slope * (out_of_fold - out_of_fold.mean()))
    left = max(0.0, 1 - explained * sharper) / (1 - explained) if explained < 1 else 0.0
    # Each row has a residual from every J-th part of them: what is drawn has their spread, and hangs on nothing.
    generator = np.random.default_rng(seed)
    places = generator.permuted(np.tile(np.arange(N_DRAWS)[:, None], len(mean)), axis=0) + generator.random(
        (N_DRAWS, len(mean))
    )
    drawn = np.quantile(residuals, places / N_DRAWS) * np.sqrt(left)
    center = targets.mean() + slope * sharper * (mean - out_of_fold.mean())
    plausible: np.ndarray = center + drawn
    return plausible


def _fit(targets: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Return the slope of targets on what was predicted, and the share of their variance that it explains."""
    spread, covariance = predicted.var(), np.mean((targets - targets.mean()) * (predicted - predicted.mean()))
    if spread == 0 or targets.var() == 0:
        return 0.0, 0.0
    return float(covariance / spread), float(covariance**2 / (spread * targets.var()))
