"""Adafactor: of a matrix's squared gradients only the means of rows and columns are kept, from torch.

Source: Shazeer and Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, 2018, https://arxiv.org/abs/1804.04235
A step is relative to the size of its weights: at most `lr` and 1 / sqrt(step) of it. Take rates of 1e-3 to 1e-2.
"""

from typing import Annotated, Any

import torch
from pydantic import Field


def build(
    *,
    parameter_groups: list[dict[str, Any]],
    beta2_decay: Annotated[float, Field(le=0)] = -0.8,
    clip_threshold: Annotated[float, Field(ge=1)] = 1.0,
    smallest_scale: Annotated[float, Field(ge=0)] = 1e-3,
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr` and `weight_decay`.

    Args:
        parameter_groups: those of the model.
        beta2_decay: power of the step from which the decay of squared gradients follows.
        clip_threshold: the root mean square above which an update is scaled down.
        smallest_scale: what weights that are smaller count as.
    """
    options: dict[str, Any] = {"beta2_decay": beta2_decay, "d": clip_threshold, "eps": (None, smallest_scale)}
    return torch.optim.Adafactor(parameter_groups, **options)
