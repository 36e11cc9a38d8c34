"""Stochastic weight averaging: the mean of the weights along the last part of the training, by torch's swa_utils.

Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, 2018,
https://arxiv.org/abs/1803.05407
Meant for a rate that stays up: `schedule: constant_with_warmup`, or one that restarts.
"""

from typing import Annotated

from pydantic import Field
from torch.optim.swa_utils import get_swa_multi_avg_fn

from pipeline.training.weights import Averaged


def build(
    *, start_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.5, n_points: Annotated[int, Field(ge=1)] = 10
) -> Averaged:
    """Return the hook; before `start_ratio` of the steps there is no average.

    Args:
        start_ratio: share of the training after which it begins.
        n_points: how many weights are averaged at most: evenly spaced, the last step's among them.
    """

    def due(step: int, n_steps: int) -> bool:
        rest = n_steps - int(start_ratio * n_steps)  # steps that may be averaged, at least one
        left = n_steps - step
        n = min(n_points, rest)
        return left < rest and any(left == number * rest // n for number in range(n))

    return Averaged(get_swa_multi_avg_fn(), due, from_start=False)
