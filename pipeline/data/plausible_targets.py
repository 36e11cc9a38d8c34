"""What test rows may be, as far as fold models tell: labels weighted so that one model is as often right as out-of-fold.

Out-of-fold rows calibrate a fold model: p(y | P_f) by temperature and a bias per label. Test rows have K of them, which
together know more than one: weights of labels are π ∝ u_y exp(τ mean_f log p(y | P_f)), a logarithmic opinion pool. The
factors u hold the labels' expected shares, and τ is such that a single fold model is right on test rows as often as
out-of-fold.
Source of the calibration: Guo et al., On Calibration of Modern Neural Networks, 2017, sec. 4.2; of the pool: Satopää et al.,
Combining multiple probability predictions using a simple logit model, 2014, https://doi.org/10.1016/j.ijforecast.2013.09.009.
"""

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax, softmax

SMALLEST = 1e-6
PRIOR = 1.0  # pseudo-observations that hold temperature at 1 and biases at 0
SHARPEST = 20.0
N_RAKES = 6


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> tuple[float, np.ndarray]:
    """Return temperature's inverse and biases (C,) that make probabilities (N, C) likeliest for int labels (N,)."""
    logs, n_outputs = np.log(probabilities.clip(SMALLEST, 1)), probabilities.shape[1]
    rows, observed = np.arange(len(labels)), np.bincount(labels, minlength=n_outputs)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = log_softmax(parameters[0] * logs + parameters[1:], axis=1)
        expected = np.exp(scaled)
        away = parameters - np.eye(n_outputs + 1)[0]
        slope = (expected * logs).sum() - logs[rows, labels].sum()
        gradient = np.append(slope, expected.sum(axis=0) - observed) + PRIOR * away
        return float(-scaled[rows, labels].sum() + PRIOR * (away**2).sum() / 2), gradient

    fitted = minimize(loss, np.eye(n_outputs + 1)[0], jac=True, method="L-BFGS-B", options={"maxiter": 100}).x
    return float(max(fitted[0], 0.0)), fitted[1:]


def plausible_labels(
    labels: np.ndarray, out_of_fold: np.ndarray, by_fold: np.ndarray, *, twins: np.ndarray, agreement: float
) -> np.ndarray:
    """Return the weight (S, C) of each label of S test rows, summing to 1 per row.

    Args:
        labels: int array (N,), of the training rows.
        out_of_fold: their probabilities (N, C).
        by_fold: probabilities (K, S, C) of the test rows by each fold's model.
        twins: int array (S,): the training row that says the same as a test row, or -1.
        agreement: how often a row has its twin's label; among the others what the models say decides.
    """
    slope, biases = calibration(labels, out_of_fold)
    logs = log_softmax(slope * np.log(by_fold.clip(SMALLEST, 1)) + biases, axis=2)
    weights: np.ndarray = softmax(logs.mean(axis=0), axis=1)
    alone = twins < 0
    if alone.any():
        right = float(np.mean(out_of_fold.argmax(axis=1) == labels))
        weights[alone] = _pooled(logs[:, alone], by_fold[:, alone].argmax(axis=2), right)
    of_twins = np.eye(weights.shape[1])[labels[twins[~alone]]]
    # Models that learned the twin say its label too: what they say counts among the other labels only.
    others = (weights[~alone] * (1 - of_twins)).clip(SMALLEST) * (1 - of_twins)
    weights[~alone] = agreement * of_twins + (1 - agreement) * others / others.sum(axis=1, keepdims=True)
    return weights


def _pooled(logs: np.ndarray, said: np.ndarray, right: float) -> np.ndarray:
    """Return the pool (S, C) of calibrated log-probabilities (K, S, C) under which what the models `said` is `right`."""
    shares, pooled = np.exp(logs).mean(axis=(0, 1)), logs.mean(axis=0)

    def weights(sharpness: float) -> np.ndarray:
        result: np.ndarray = softmax(sharpness * pooled, axis=1)
        for _ in range(N_RAKES):
            result *= shares / result.mean(axis=0).clip(SMALLEST)
            result /= result.sum(axis=1, keepdims=True)
        return result

    def surplus(sharpness: float) -> float:
        return float(np.take_along_axis(weights(sharpness)[None], said[..., None], axis=2).mean()) - right

    low, high = 1 / SHARPEST, SHARPEST
    if surplus(low) >= 0 or surplus(high) <= 0:  # no sharpness gives it: the nearest
        return weights(low if surplus(low) >= 0 else high)
    return weights(brentq(surplus, low, high, xtol=1e-2))
