"""Losses made of others: a sum that knows each part's share, rows that count by their class, numbers standardised."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from pipeline.targets.standardising import Units

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
REST = "objective"  # what an objective adds to its losses, such as a divergence


class WeightedLoss:
    """Several losses (logits, targets) -> (B,), each times a weight that goes straight between points over training."""

    def __init__(
        self, names: Sequence[str], losses: Sequence[Loss], points: Sequence[Sequence[tuple[float, float]]]
    ) -> None:
        self.names, self.losses, self.points = list(names), list(losses), list(points)
        self.progress = 0.0
        self.ones: torch.Tensor | None = None

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum (B,)."""
        values = torch.stack([loss(logits, targets) for loss in self.losses], dim=-1)  # (B, K)
        weights = values.new_tensor(self.weights(self.progress))
        return (values * (weights if self.ones is None else weights * self.ones.to(values))).sum(dim=-1)

    def weights(self, progress: float) -> list[float]:
        """Return the weights at a share of the training's steps, in [0, 1).

        >>> WeightedLoss("ab", [], [[(0, 1), (0.5, 0)], [(0, 2.0)]]).weights(0.25)
        [0.5, 2.0]
        """
        curves = ([list(axis) for axis in zip(*points, strict=True)] for points in self.points)
        return [float(np.interp(progress, places, values)) for places, values in curves]

    @contextmanager
    def at(self, progress: float) -> Iterator[None]:
        """Weigh the parts within the block as this share of the training asks for, and know what each adds."""
        self.progress, self.ones = progress, torch.ones(len(self.losses), requires_grad=True)
        try:
            yield
        finally:
            self.ones = None

    def apart(self, total: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what each part adds to an objective's value and what it adds itself: they sum up to it.

        The parts' values carry no gradient, the rest carries all of it. However an objective uses its loss, what is linear in
        a factor 1 at each part has that part for its derivative.
        """
        assert self.ones is not None
        [shares] = torch.autograd.grad(total, [self.ones], retain_graph=True, allow_unused=True)
        shares = torch.zeros(len(self.names)) if shares is None else shares
        shares = shares.to(total)
        return {**dict(zip(self.names, shares, strict=True)), REST: total - shares.sum()}


def weighed_by_class(loss: Loss, weights: Sequence[float]) -> Loss:
    """Return a loss of which each row counts as much as its class.

    >>> weighed_by_class(lambda logits, labels: logits[:, 0], [1.0, 3.0])(torch.ones(2, 2), torch.tensor([0, 1])).tolist()
    [1.0, 3.0]
    """
    factors = torch.tensor(weights)

    def weighed(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = loss(logits, labels)
        return losses * factors.to(losses)[labels]

    return weighed


def of_known(loss: Loss) -> Loss:
    """Return the mean (B,) of an element-wise loss over those of a row's targets (B, V) that are known, 0 where none is.

    >>> of_known(lambda outputs, targets: (outputs - targets) ** 2)(torch.zeros(1, 2), torch.tensor([[3.0, torch.nan]]))
    tensor([9.])
    """

    def masked(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        precise = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        known = ~targets.isnan()
        losses = loss(precise, torch.where(known, targets.to(precise.dtype), precise.detach()))
        return losses.sum(dim=-1) / known.sum(dim=-1).clamp(min=1)

    return masked


def standardised(loss: Loss, units: Units) -> Loss:
    """Return a loss of outputs and targets (B, V) that are in these units, and reach it standardised."""
    mean, deviation = (torch.tensor(units[name], dtype=torch.float64) for name in ("mean", "deviation"))

    def of_units(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return loss(*((side - mean.to(side)) / deviation.to(side) for side in (outputs, targets)))

    return of_units
