"""A model over rows without gradients: batches of like length, smaller ones when memory runs out, progress, a way to stop."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from pipeline.contracts import TaskKind
from pipeline.errors.exceptions import DivergedError, InterruptedRun
from pipeline.errors.failpoints import failpoint
from pipeline.models.accelerators import is_out_of_memory
from pipeline.models.batching import Inputs, micro_batches

if TYPE_CHECKING:
    from pipeline.training_contracts import Monitor

FULLNESS = 0.8  # of the longest row's tokens: a large batch of few rows was more than half padding


def outputs_of(
    model: nn.Module, inputs: Inputs, token_budget: int, *, monitor: "Monitor | None" = None
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield rows (B,) and what the model gives for them, float32 on its device, until all rows had their turn.

    The model is in evaluation mode. The budget, of padded tokens per batch, is halved when memory runs out.

    Raises:
        InterruptedRun: if the monitor asked to stop.
    """
    device = next(model.parameters()).device
    lengths = inputs.lengths
    n_rows, longest = len(lengths), int(lengths.max())
    waiting = np.argsort(-lengths, kind="stable")
    while len(waiting):
        rows = next(micro_batches(waiting, lengths, token_budget=token_budget))
        rows = rows[lengths[rows] >= FULLNESS * lengths[rows[0]]]  # the longest come first
        batch = {name: tensor.to(device) for name, tensor in inputs.batch(rows).items()}
        try:
            with torch.inference_mode():
                outputs = model(batch).float()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or token_budget <= longest:
                raise
            torch.cuda.empty_cache()
            token_budget = max(token_budget // 2, longest)
            continue
        yield rows, outputs
        failpoint("predict")
        waiting = waiting[len(rows) :]
        if monitor is not None:
            monitor.progress(step=n_rows - len(waiting), n_steps=n_rows)
            if code := monitor.stop_requested():
                raise InterruptedRun("interrupted between batches. Run dvc repro to continue.", code)


def predict_logits(
    model: nn.Module, inputs: Inputs, tokens_per_micro_batch: int, *, monitor: "Monitor | None" = None
) -> np.ndarray:
    """Return logits, float32 (N, C), in the order of the rows.

    Raises:
        DivergedError: if a logit is not finite.
        InterruptedRun: if the monitor asked to stop.
    """
    model.eval()
    outputs = outputs_of(model, inputs, tokens_per_micro_batch, monitor=monitor)
    rows, logits = zip(*((rows, logits.cpu()) for rows, logits in outputs), strict=True)
    ordered = np.empty((len(inputs.lengths), logits[0].shape[1]), np.float32)
    ordered[np.concatenate(rows)] = torch.cat(logits).numpy()
    if not np.isfinite(ordered).all():
        raise DivergedError(
            "predictions: logits must be finite, got NaN or infinity. Lower the learning rate, or use precision fp32."
        )
    return ordered


def mean_of_orders(logits: np.ndarray, kind: TaskKind) -> np.ndarray:
    """Return outputs (N, C) whose values are the mean of those of N rows and, after them, of the same rows swapped."""
    first, second = np.split(kind.values(logits), 2)
    return kind.logits((first + second) / 2)
