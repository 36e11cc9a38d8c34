"""Concurrent softmax: cross-entropy that does not push down labels which often hold beside the one that is given.

Source: Peng et al., Large-Scale Object Detection in the Wild from Imbalanced Multi-Labels, 2020, eq. 4 and 5,
https://arxiv.org/abs/2005.08455
Differs from the paper: of rows with one label only the rates cannot be counted and are given.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from pipeline.errors.exceptions import ParamsError, expected

FORMS = ("class",)


def build(
    *, n_outputs: int, labels: Sequence[str], targets: np.ndarray, rates: dict | None = None
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (logits (B, C), labels (B,) or 0 and 1 for each (B, C)) -> losses (B,).

    Args:
        n_outputs: number of labels C.
        labels: their names.
        targets: of the rows that are trained on, (N,) or (N, C).
        rates: label -> {other label: how often it holds too, in [0, 1]}. None counts them in rows of several labels.

    Raises:
        ParamsError: if a rate is of a label that does not exist, out of its range, or missing where it cannot be counted.
    """
    known = torch.from_numpy(_counted(targets) if rates is None else _given(rates, list(labels))).float()  # (C, C)
    log_weights = (1 - known.clamp(max=1)).log()

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        values = logits.to(torch.promote_types(logits.dtype, torch.float32))
        hot = functional.one_hot(targets, n_outputs) if targets.dim() == 1 else targets  # (B, C)
        rivals = log_weights.to(values) + hot.logical_not().to(values).log().unsqueeze(1)  # (B, C, C): (1 - r)(1 - y)
        itself = torch.eye(n_outputs, dtype=torch.bool, device=values.device)
        sums = (values.unsqueeze(1) + rivals.masked_fill(itself, 0.0)).logsumexp(dim=-1)  # (B, C)
        return ((sums - values) * hot).sum(dim=-1)

    return loss


def _counted(targets: np.ndarray) -> np.ndarray:
    """Return how often a label holds where another one does, (C, C)."""
    if targets.ndim != 2:
        text = "loss.rates: must be given where rows have one label. Add it, or take cross_entropy."
        raise ParamsError(text, code="E203")
    hot = np.asarray(targets, dtype=np.float64)
    rates: np.ndarray = hot.T @ hot / np.maximum(hot.sum(axis=0), 1)[:, None]
    return rates


def _given(rates: dict, labels: list[str]) -> np.ndarray:
    matrix = np.zeros((len(labels), len(labels)))
    for label, others in rates.items():
        for other, rate in (others if isinstance(others, dict) else {None: others}).items():
            if label not in labels or other not in labels:
                wrong = label if label not in labels else other
                raise ParamsError(f"loss.rates: {expected(wrong, labels)}", code="E203")
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
                raise ParamsError(
                    f"loss.rates.{label}.{other}: must be in [0, 1], got {rate!r}. Correct it.", code="E203"
                )
            matrix[labels.index(label), labels.index(other)] = rate
    return matrix
