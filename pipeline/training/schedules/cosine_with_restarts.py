"""Linear warm-up, then half cosines down to zero, each from the full rate.

Source: Loshchilov and Hutter, SGDR, 2017, eq. 5, https://arxiv.org/abs/1608.03983
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from pipeline.training.scheduling import from_transformers

RESTARTS = True


def build(*, n_steps: int, n_warmup_steps: int, n_cycles: Annotated[int, Field(ge=1)] = 2) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step from 0 to n_steps - 1, `n_cycles` times from 1 to 0."""
    options = {"num_cycles": n_cycles}
    return from_transformers("cosine_with_restarts", n_steps=n_steps, n_warmup_steps=n_warmup_steps, **options)
