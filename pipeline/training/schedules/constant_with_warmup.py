"""Linear warm-up, then the same rate at every step."""

from collections.abc import Callable

from pipeline.training.scheduling import from_transformers

FALLS = False


def build(*, n_steps: int, n_warmup_steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at a step from 0 to n_steps - 1."""
    return from_transformers("constant_with_warmup", n_steps=n_steps, n_warmup_steps=n_warmup_steps)
