"""Exponential moving average of the weights, by torch's swa_utils.

Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992; Tarvainen and Valpola, Mean
Teachers, 2017 (exponential), https://arxiv.org/abs/1703.01780
"""

from typing import Annotated

from pydantic import Field
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pipeline.training.weights import Averaged


def build(*, decay: Annotated[float, Field(ge=0, lt=1)] = 0.999, ramp: bool = True) -> Averaged:
    """Return the hook.

    Args:
        decay: share of the average that stays at a step.
        ramp: after n steps at most (1 + n) / (10 + n) of it stays: short trainings forget the weights that they began with.
    """

    def due(step: int, n_steps: int) -> bool:
        return True

    def update(average: list, weights: list, n_averaged: int) -> None:
        kept = min(decay, (1 + n_averaged) / (10 + n_averaged)) if ramp else decay
        get_ema_multi_avg_fn(kept)(average, weights, n_averaged)

    return Averaged(update, due, from_start=True)
