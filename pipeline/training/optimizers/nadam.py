"""Adam with Nesterov's momentum, from torch.

Source: Dozat, Incorporating Nesterov Momentum into Adam, 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
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
    momentum_decay: Annotated[float, Field(ge=0)] = 0.004,
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr` and `weight_decay`."""
    options: dict[str, Any] = {"momentum_decay": momentum_decay, "decoupled_weight_decay": True}
    return torch.optim.NAdam(parameter_groups, betas=(beta1, beta2), eps=epsilon, **options)
