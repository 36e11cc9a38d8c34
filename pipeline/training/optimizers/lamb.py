"""LAMB: Adam whose step in each tensor is as large as its weights, for large batches, from pytorch_optimizer.

Source: You et al., Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, 2020, algorithm 2,
https://arxiv.org/abs/1904.00962
Differs from the paper: the library corrects no bias, as the paper's third version; the size of weights counts up to 10.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from pytorch_optimizer import Lamb

LIBRARIES = ("pytorch_optimizer",)


def build(
    *,
    parameter_groups: list[dict[str, Any]],
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    epsilon: Annotated[float, Field(gt=0)] = 1e-6,
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr` and `weight_decay`."""
    # Not decoupled: the paper's weight decay is a part of the update that is scaled.
    return Lamb(parameter_groups, betas=(beta1, beta2), eps=epsilon, weight_decouple=False)
