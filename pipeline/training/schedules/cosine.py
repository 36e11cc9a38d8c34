"""Linear warm-up, then half a cosine down to zero.

Source: Loshchilov and Hutter, SGDR, 2017, eq. 5 without restarts, https://arxiv.org/abs/1608.03983
"""

from collections.abc import Callable

from pipeline.training.scheduling import from_transformers


def build(*, n_steps: int, n_warmup_steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step from 0 to n_steps - 1.

    >>> factor = build(n_steps=10, n_warmup_steps=2)
    >>> [round(factor(step), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    return from_transformers("cosine", n_steps=n_steps, n_warmup_steps=n_warmup_steps)
