"""How many steps a training takes, how many of them warm up, and schedules as transformers has them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import get_scheduler

from pipeline.errors.exceptions import ParamsError
from pipeline.params.encoders import Training


def n_steps_of(settings: Training, n_rows: int) -> int:
    """Return how many steps all epochs over so many rows take."""
    return -(-n_rows // settings.batch_size) * settings.epochs


def n_warmup_steps_of(settings: Training, n_steps: int) -> int:
    """Return how many of the steps warm up, at most all."""
    if settings.warmup_steps is not None:
        return min(settings.warmup_steps, n_steps)
    return round(settings.warmup_ratio * n_steps)


def check_schedule(settings: Training, n_rows: int) -> None:
    """See that a training on so many rows is longer than its schedule.

    Raises:
        ParamsError: if it ends while it still warms up.
    """
    n_steps = n_steps_of(settings, n_rows)
    if settings.warmup_steps is not None and settings.warmup_steps >= n_steps:
        raise ParamsError(
            f"warmup_steps: must be below the {n_steps} steps of a fold's training ({settings.epochs} epochs of {n_rows} "
            f"rows in batches of {settings.batch_size}), got {settings.warmup_steps}. Lower it, or use warmup_ratio.",
            code="E203",
        )


def from_transformers(kind: str, *, n_steps: int, n_warmup_steps: int, **options: Any) -> Callable[[int], float]:
    """Return the factor of the learning rate that transformers' scheduler of a kind has at each step.

    It warms up from 1 / n instead of 0, so that no step is wasted.
    """
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    scheduler: Any = get_scheduler(kind, optimizer, n_warmup_steps, n_steps, options)
    [decay] = scheduler.lr_lambdas

    def factor(step: int) -> float:
        return (step + 1) / n_warmup_steps if step < n_warmup_steps else float(decay(step))

    return factor
