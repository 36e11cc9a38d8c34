"""Lion: the sign of an interpolated momentum, one state per weight, from pytorch_optimizer.

Source: Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, https://arxiv.org/abs/2302.06675
Every weight moves by `lr`: take a third to a tenth of adamw's rate, and as many times its weight decay.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from pytorch_optimizer import Lion

LIBRARIES = ("pytorch_optimizer",)


def build(
    *,
    parameter_groups: list[dict[str, Any]],
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr` and `weight_decay`."""
    return Lion(parameter_groups, betas=(beta1, beta2))
