"""Linear warm-up, then a power of what is left of the training, down to a share of the rate.

Source: Liu et al., RoBERTa, 2019, and its code, fairseq, https://arxiv.org/abs/1907.11692
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from pipeline.training.scheduling import from_transformers


def build(
    *,
    n_steps: int,
    n_warmup_steps: int,
    power: Annotated[float, Field(gt=0)] = 2.0,
    end_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step from 0 to n_steps - 1; with power 1 it is linear."""
    options = {"power": power, "lr_end": end_ratio}
    return from_transformers("polynomial", n_steps=n_steps, n_warmup_steps=n_warmup_steps, **options)
