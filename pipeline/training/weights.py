"""The weights that a training keeps: copies, and averages that an optimizer holds by itself."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def copied(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a copy of a state dict on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


class OptimizerAverage:
    """The average that is an optimizer's own: `eval` brings it into the model, `train` takes it away. A `Hook`."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def begin(self, model: nn.Module, *, step: int, n_steps: int, state: dict[str, Any] | None) -> None:
        """Take the model; the optimizer's state is in the checkpoint by itself."""
        self.model = model

    def after_step(self, step: int) -> None:
        """Do nothing: the optimizer has done it."""

    def weights(self, evaluate: Callable[[nn.Module], float] | None) -> dict[str, torch.Tensor]:
        """Return the average; the model keeps its own weights."""
        trained = copied(self.model.state_dict())
        self.optimizer.eval()
        average = copied(self.model.state_dict())
        self.optimizer.train()
        # There and back rounds: what the next step goes on from must be what it was.
        self.model.load_state_dict(trained)
        return average

    def state(self) -> dict[str, Any]:
        """Return nothing: see `begin`."""
        return {}
