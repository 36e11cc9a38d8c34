"""Linear warm-up, then half a cosine down to a share of the rate.

Source: Loshchilov and Hutter, SGDR, 2017, eq. 5 without restarts, https://arxiv.org/abs/1608.03983
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from pipeline.training.scheduling import from_transformers


def build(
    *, n_steps: int, n_warmup_steps: int, end_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step from 0 to n_steps - 1."""
    options = {"min_lr_rate": end_ratio}
    return from_transformers("cosine_with_min_lr", n_steps=n_steps, n_warmup_steps=n_warmup_steps, **options)
