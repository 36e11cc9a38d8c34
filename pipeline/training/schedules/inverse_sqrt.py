"""Linear warm-up, then the inverse root of the step.

Source: Vaswani et al., Attention Is All You Need, 2017, eq. 3, https://arxiv.org/abs/1706.03762; Zhai et al., Scaling Vision
Transformers, 2022 (timescale), https://arxiv.org/abs/2106.04560
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from pipeline.training.scheduling import from_transformers


def build(
    *, n_steps: int, n_warmup_steps: int, timescale: Annotated[int, Field(ge=1)] | None = None
) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step from 0 to n_steps - 1.

    Three `timescale`s after the warm-up it is a half; None takes the warm-up's steps, or a tenth of all without one.
    """
    options = {"timescale": timescale or n_warmup_steps or max(1, n_steps // 10)}
    return from_transformers("inverse_sqrt", n_steps=n_steps, n_warmup_steps=n_warmup_steps, **options)
