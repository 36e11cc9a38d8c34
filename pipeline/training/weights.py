"""The weights that a training keeps: copies, and averages, made beside the training or by its optimizer."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


def copied(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a copy of a state dict on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def mean_of(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the mean of state dicts, of whole numbers those of the last.

    >>> mean_of([{"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}])
    {'w': tensor([1.5000])}
    """
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if tensor.is_floating_point() else tensor
        for name, tensor in states[-1].items()
    }


class Averaged:
    """An average of the weights, on their device. A `Hook`.

    Args:
        update: changes the average (list of tensors) in place, given the weights (list) and how many it is made of.
        due: says of a step and the number of all whether its weights are added.
        from_start: whether the weights before the first step are the first ones.
    """

    def __init__(
        self, update: Callable[[Any, Any, Any], None], due: Callable[[int, int], bool], *, from_start: bool
    ) -> None:
        self.update, self.due, self.from_start = update, due, from_start

    def begin(self, model: nn.Module, *, step: int, n_steps: int, state: dict[str, Any] | None) -> None:
        """Take the model, and the average as it was."""
        self.model, self.n_steps = model, n_steps
        kept = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}  # not the base of an adapter
        self.parameters: list[torch.Tensor] = [tensor for tensor in model.parameters() if id(tensor) in kept]
        self.average, self.n_averaged = [parameter.detach().clone() for parameter in self.parameters], 0
        if state is not None:
            self.n_averaged = state["n_averaged"]
            for average, kept in zip(self.average, state["average"], strict=True):
                average.copy_(kept)
        elif self.from_start:
            self.n_averaged = 1

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Add the weights if they are due."""
        if not self.due(step, self.n_steps):
            return
        if self.n_averaged:
            self.update(self.average, self.parameters, self.n_averaged)
        else:
            torch._foreach_copy_(self.average, self.parameters)
        self.n_averaged += 1

    def weights(self, evaluate: Callable[[nn.Module], float] | None) -> dict[str, torch.Tensor] | None:
        """Return the average, if there is one; buffers are the model's."""
        if not self.n_averaged:
            return None
        # By identity: of weights that are tied the state dict has several names.
        averages = {id(parameter): average for parameter, average in zip(self.parameters, self.average, strict=True)}
        state = self.model.state_dict(keep_vars=True)
        return {name: averages.get(id(tensor), tensor).detach() for name, tensor in state.items()}

    def state(self) -> dict[str, Any]:
        """Return the average and of how many weights it is."""
        return {"average": self.average, "n_averaged": self.n_averaged}


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
