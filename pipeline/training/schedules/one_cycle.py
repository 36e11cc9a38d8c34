"""One cycle: half a cosine up to the rate during the warm-up, half a cosine down to almost nothing.

Source: Smith and Topin, Super-Convergence, 2018, https://arxiv.org/abs/1708.07120
Differs from the paper: cosines, as in torch, and no cycle of the momentum. Meant for a long warm-up: `warmup_ratio: 0.3`.
"""

import math
from collections.abc import Callable
from typing import Annotated

from pydantic import Field


def build(
    *,
    n_steps: int,
    n_warmup_steps: int,
    start_ratio: Annotated[float, Field(gt=0, le=1)] = 0.04,
    end_ratio: Annotated[float, Field(gt=0, le=1)] = 4e-6,
) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step from 0 to n_steps - 1: from `start_ratio` to 1 to `end_ratio`.

    >>> factor = build(n_steps=11, n_warmup_steps=6)
    >>> [round(factor(step), 3) for step in (0, 5, 10)]
    [0.04, 1.0, 0.0]
    """
    top = max(n_warmup_steps - 1, 0)

    def factor(step: int) -> float:
        start, end, share = (start_ratio, 1.0, step / max(top, 1)) if step < top else (1.0, end_ratio, 0.0)
        if step > top:
            share = (step - top) / (n_steps - 1 - top)
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    return factor
