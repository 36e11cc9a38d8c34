"""Soft macro-F1: one minus the F1 of each class with probabilities in the place of decisions.

Source: Bénédict et al., sigmoidF1: A Smooth F1 Score Surrogate Loss, 2022, section 4, https://arxiv.org/abs/2108.10566
Differs from the paper: softmax, one label per row. F1 is no mean over rows: it is that of a micro-batch, over the classes
that it holds, so `tokens_per_micro_batch` has a say. Large batches serve it; alone it learns slowly: see `weighted_sum`.
"""

from collections.abc import Callable

import torch
from torch.nn import functional

FORMS = ("class",)


def build(*, n_outputs: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (logits (B, C), labels (B,)) -> losses (B,): for each row that of all, in [0, 1]."""

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        values = logits.to(torch.promote_types(logits.dtype, torch.float32))
        probabilities, targets = values.softmax(dim=-1), functional.one_hot(labels, n_outputs)  # (B, C)
        n_rows = targets.sum(dim=0)  # (C,)
        held = n_rows > 0  # of the others 0 / 0 may come
        f1 = 2 * (probabilities * targets).sum(dim=0)[held] / (probabilities.sum(dim=0) + n_rows)[held]
        return (1 - f1.mean()).expand(len(labels))

    return loss
