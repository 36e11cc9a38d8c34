"""Adam whose step is small while the variance of its own scale is large: a warm-up of its own, from torch.

Source: Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2020, https://arxiv.org/abs/1908.03265
Differs from the paper: weight decay is decoupled, as in adamw.
"""

from typing import Annotated, Any

import torch
from pydantic import Field


def build(
    *,
    parameter_groups: list[dict[str, Any]],
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    epsilon: Annotated[float, Field(gt=0)] = 1e-8,
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr` and `weight_decay`."""
    return torch.optim.RAdam(parameter_groups, betas=(beta1, beta2), eps=epsilon, decoupled_weight_decay=True)
