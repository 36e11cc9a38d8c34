"""How a step's gradient comes about: its rows in micro-batches as small as memory asks for, and the plain way over them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from pipeline.errors.exceptions import MachineError
from pipeline.models.accelerators import is_out_of_memory
from pipeline.models.batching import micro_batches
from pipeline.reproducibility import derive_seed
from pipeline.training_contracts import Objective, TrainingStep

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowsOfStep:
    """The rows of one optimizer step in micro-batches of at most `token_budget` padded tokens: a `TrainingStep`."""

    model: nn.Module
    objective: Objective
    accelerator: Accelerator
    rows: np.ndarray
    step: int
    progress: float
    seed: int
    token_budget: int

    @cached_property
    def batches(self) -> Sequence[dict[str, torch.Tensor]]:
        """Return the micro-batches, those of the longest rows first."""
        parts = micro_batches(self.rows, self.objective.lengths, token_budget=self.token_budget)
        return [self.objective.batch(part, self.step) for part in parts]

    @cached_property
    def weights(self) -> dict[str, float]:
        """Return how many items each loss sums over in the whole step."""
        weights: dict[str, float] = {}
        for batch in self.batches:
            for name, weight in self.objective.weights(batch).items():
                weights[name] = weights.get(name, 0.0) + weight
        return weights

    def losses(self, number: int) -> dict[str, torch.Tensor]:
        """Return the losses of a micro-batch, each divided by its items in the whole step."""
        batch = self._begun(number)
        with self.accelerator.autocast():
            sums = self.objective.loss_sums(self.model, batch, self.progress)
            return {name: total / self.weights[name] for name, total in sums.items()}

    def outputs(self, number: int) -> torch.Tensor:
        """Return what the model gives for a micro-batch, float32 (B, C), under the dropout of its losses."""
        batch = self._begun(number)
        with self.accelerator.autocast():
            outputs: torch.Tensor = self.model(batch)
            return outputs.float()

    def _begun(self, number: int) -> dict[str, torch.Tensor]:
        """Return a micro-batch on the device, once its dropout is set."""
        # Anew for every pass: a gradient that asks twice, or a resumed step, meets the same dropout.
        torch.manual_seed(derive_seed(self.seed, "dropout", self.step, number))
        device = self.accelerator.device
        return {name: tensor.to(device, non_blocking=True) for name, tensor in self.batches[number].items()}

    def backward(self, loss: torch.Tensor, *, retain_graph: bool = False) -> None:
        """Add the gradient of a loss to that of the parameters."""
        self.accelerator.backward(loss, retain_graph=retain_graph)


def plain(model: nn.Module, step: TrainingStep) -> dict[str, float]:
    """Accumulate the gradient of the sum of the losses and return their values."""
    return accumulate(step, step.losses)


def accumulate(step: TrainingStep, losses_of: Callable[[int], dict[str, torch.Tensor]]) -> dict[str, float]:
    """Accumulate the gradient of the sum of what `losses_of` gives for each micro-batch's number; return their sums."""
    totals: dict[str, torch.Tensor] = {}
    for number in range(len(step.batches)):
        losses = losses_of(number)
        step.backward(torch.stack(list(losses.values())).sum())
        for name, loss in losses.items():
            totals[name] = totals[name] + loss.detach() if name in totals else loss.detach()
    return {name: float(total) for name, total in totals.items()}


def smaller_budget(token_budget: int, error: Exception, *, longest: int, step: int, adapts: bool) -> int:
    """Return half the tokens per micro-batch, or those of the step's longest row, after memory ran out with `error`.

    `adapts` says whether smaller micro-batches are wanted: the same rows, steps and rates.

    Raises:
        MachineError: if they are not wanted, or a single row does not fit.
        Exception: the error itself, if it is not about memory.
    """
    if not is_out_of_memory(error):
        raise error
    if adapts and token_budget > longest:
        torch.cuda.empty_cache()
        smaller = max(token_budget // 2, longest)
        log.warning("step %d: out of memory; going on with %d tokens per micro-batch", step, smaller)
        return smaller
    size = f"{token_budget} tokens per micro-batch, rows of up to {longest}"
    advice = "Lower tokens_per_micro_batch, or set out_of_memory: adapt."
    if adapts:
        size, advice = f"a single row of {longest} tokens", "Lower max_length, or set gradient_checkpointing."
    raise MachineError(f"step {step}: out of memory with {size}. {advice}", code="E403") from error
