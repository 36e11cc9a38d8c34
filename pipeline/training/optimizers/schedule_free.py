"""Schedule-free AdamW: instead of a falling rate, an average of the weights that is predicted with, from pytorch_optimizer.

Source: Defazio et al., The Road Less Scheduled, 2024, https://arxiv.org/abs/2405.15682
Meant for a rate that only warms up: set a `schedule` that does not fall.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from pytorch_optimizer import ScheduleFreeAdamW

LIBRARIES = ("pytorch_optimizer",)
AVERAGES = True


def build(
    *,
    parameter_groups: list[dict[str, Any]],
    beta1: Annotated[float, Field(gt=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    epsilon: Annotated[float, Field(gt=0)] = 1e-8,
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr` and `weight_decay`.

    Its `eval` brings the average, `train` undoes it.
    """
    return ScheduleFreeAdamW(parameter_groups, betas=(beta1, beta2), eps=epsilon)
