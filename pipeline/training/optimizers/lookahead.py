"""Lookahead: slow weights that every few steps go a part of the way to those of another optimizer, from pytorch_optimizer.

Source: Zhang et al., Lookahead Optimizer: k steps forward, 1 step back, 2019, https://arxiv.org/abs/1907.08610
Differs from the paper: what is predicted with are the weights after the last step, slow ones only if it is an n-th.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from pytorch_optimizer import Lookahead

from pipeline.errors.exceptions import ParamsError

LIBRARIES = ("pytorch_optimizer",)
KEEPS = 1  # copies of the weights besides its averages of gradients
COMPONENTS = {"optimizer": "optimizers"}


def build(
    *,
    parameter_groups: list[dict[str, Any]],
    optimizer: Any = "adamw",
    n_fast_steps: Annotated[int, Field(ge=1)] = 5,
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.5,
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr` and `weight_decay`.

    Args:
        parameter_groups: those of the model.
        optimizer: any other one, as a component.
        n_fast_steps: its steps after which the slow weights follow.
        alpha: the share of the way that they go.

    Raises:
        ParamsError: if the other one averages weights by itself.
    """
    if optimizer.constant("AVERAGES") or optimizer.constant("COMPONENTS"):
        raise ParamsError(f"optimizer: lookahead goes over one without averages, got {optimizer.name}. Take another.")
    return Lookahead(optimizer.build(parameter_groups=parameter_groups), k=n_fast_steps, alpha=alpha)
