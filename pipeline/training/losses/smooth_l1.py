"""Smooth L1 of standardised numbers: the absolute error, rounded off by a parabola below `beta`.

Source: Girshick, Fast R-CNN, 2015, eq. 3, https://arxiv.org/abs/1504.08083 (`beta` 1). It is Huber's loss over `beta`.
"""

from collections.abc import Callable

import torch
from torch.nn import functional

from pipeline.ranges import NotNegativeFloat
from pipeline.training.weighted_loss import of_known

FORMS = ("number",)


def build(*, beta: NotNegativeFloat = 0.1) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (outputs (B, V), targets (B, V), NaN where missing) -> losses (B,).

    `beta` is in standard deviations; 0 is the absolute error.
    """
    return of_known(lambda outputs, targets: functional.smooth_l1_loss(outputs, targets, reduction="none", beta=beta))
