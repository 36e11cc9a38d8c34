"""Squared error of standardised numbers, the mean over the known ones of a row."""

from collections.abc import Callable

import torch
from torch.nn import functional

from pipeline.training.weighted_loss import of_known

FORMS = ("number",)


def build() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (outputs (B, V), targets (B, V), NaN where missing) -> losses (B,)."""
    return of_known(lambda outputs, targets: functional.mse_loss(outputs, targets, reduction="none"))
