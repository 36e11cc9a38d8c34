"""What can be shown of predicted labels: the confusion, how far to trust the probabilities, and the hardest rows."""

from typing import Any

import numpy as np


def confusion(labels: np.ndarray, predicted: np.ndarray, *, n_outputs: int) -> np.ndarray:
    """Return counts, an int64 array (C, C): true label by row, predicted label by column.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), n_outputs=2)
    array([[1, 0],
           [1, 1]])
    """
    return np.bincount(labels * n_outputs + predicted, minlength=n_outputs**2).reshape(n_outputs, n_outputs)


def calibration_bins(labels: np.ndarray, probabilities: np.ndarray, *, n_bins: int = 10) -> list[dict[str, Any]]:
    """Return for each bin of the top probability its bounds, mean confidence, accuracy (None if empty) and rows.

    >>> calibration_bins(np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]]), n_bins=2)[1]
    {'low': 0.5, 'high': 1.0, 'confidence': 0.9, 'accuracy': 0.5, 'rows': 2}
    """
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((top * n_bins).astype(int), n_bins - 1)
    bins: list[dict[str, Any]] = []
    for number in range(n_bins):
        inside = place == number
        rows = int(inside.sum())
        confidence, accuracy = (float(top[inside].mean()), float(right[inside].mean())) if rows else (None, None)
        low, high = number / n_bins, (number + 1) / n_bins
        bins.append({"low": low, "high": high, "confidence": confidence, "accuracy": accuracy, "rows": rows})
    return bins


def hardest_rows(
    labels: np.ndarray, probabilities: np.ndarray, *, row_ids: list[str], names: list[str], n_rows: int = 20
) -> list[dict[str, Any]]:
    """Return the rows whose true label got the lowest probability, the hardest first, with what was predicted.

    >>> hardest_rows(np.array([0, 1]), np.array([[0.9, 0.1], [0.75, 0.25]]), row_ids=["x", "y"], names=["a", "b"])[0]
    {'row_id': 'y', 'label': 'b', 'predicted': 'a', 'probability': 0.25}
    """
    own, predicted = probabilities[np.arange(len(labels)), labels], probabilities.argmax(axis=1)
    return [
        {
            "row_id": row_ids[n],
            "label": names[labels[n]],
            "predicted": names[predicted[n]],
            "probability": float(own[n]),
        }
        for n in np.argsort(own, kind="stable")[:n_rows]
    ]
