"""Huber's loss of standardised numbers: half the squared error up to `delta`, beyond it `delta` times the rest.

Source: Huber, Robust Estimation of a Location Parameter, 1964, https://doi.org/10.1214/aoms/1177703732
"""

from collections.abc import Callable

import torch
from torch.nn import functional

from pipeline.ranges import PositiveFloat
from pipeline.training.weighted_loss import of_known

FORMS = ("number",)


def build(*, delta: PositiveFloat = 1.0) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (outputs (B, V), targets (B, V), NaN where missing) -> losses (B,); `delta` in standard deviations."""
    return of_known(lambda outputs, targets: functional.huber_loss(outputs, targets, reduction="none", delta=delta))
