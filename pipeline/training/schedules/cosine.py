"""Linear warm-up, then half a cosine down to zero.

Source: Loshchilov and Hutter, SGDR, 2017, eq. 5 without restarts, https://arxiv.org/abs/1608.03983
"""

import math
from collections.abc import Callable


def build(*, n_steps: int, n_warmup_steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step from 0 to n_steps - 1.

    >>> factor = build(n_steps=10, n_warmup_steps=2)
    >>> [round(factor(step), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """

    def factor(step: int) -> float:
        if step < n_warmup_steps:
            return (step + 1) / n_warmup_steps
        progress = (step - n_warmup_steps) / max(1, n_steps - n_warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * progress))

    return factor
