"""Linear warm-up, the full rate for most of the training, then a decay to a share of it.

Source: Hu et al., MiniCPM, 2024, section 4, https://arxiv.org/abs/2404.06395; Hägele et al., Scaling Laws and Compute-Optimal
Training Beyond Fixed Training Durations, 2024 (`1-sqrt`), https://arxiv.org/abs/2405.18392
"""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from pipeline.training.scheduling import from_transformers


def build(
    *,
    n_steps: int,
    n_warmup_steps: int,
    decay_ratio: Annotated[float, Field(gt=0, le=1)] = 0.2,
    decay: Literal["linear", "cosine", "1-sqrt"] = "1-sqrt",
    end_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step from 0 to n_steps - 1.

    `decay_ratio` of all steps decay, but no more than the warm-up leaves.
    """
    n_decay_steps = min(round(decay_ratio * n_steps), n_steps - n_warmup_steps)
    options = {"num_decay_steps": n_decay_steps, "decay_type": decay, "min_lr_ratio": end_ratio}
    return from_transformers("warmup_stable_decay", n_steps=n_steps, n_warmup_steps=n_warmup_steps, **options)
