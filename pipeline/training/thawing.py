"""Layers that do not learn: the lowest ones never, others not until it is their turn, from the top.

Source: Howard and Ruder, ULMFiT, 2018, section 3.3 (gradual unfreezing), https://arxiv.org/abs/1801.06146
Differs from the paper: layers thaw evenly over a share of the steps, not one per epoch: there are fewer epochs than layers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from pipeline.errors.exceptions import ParamsError
from pipeline.training.parameter_groups import count_layers, layer_of, tree_of


def freeze_lowest(backbone: nn.Module, n_layers: int) -> None:
    """Let the embeddings and so many layers above them learn no more.

    Raises:
        ParamsError: if the layers cannot be found, or are fewer.
    """
    found = count_layers(backbone)
    if n_layers > found:
        what = (
            f"must be at most {found}, the layers of this encoder" if found else "layers must be found by their names"
        )
        tree = "" if found else f" Its modules are: {tree_of(backbone)}."
        raise ParamsError(f"frozen_layers: {what}, got {n_layers}.{tree} Lower it, or remove it.", code="E203")
    for name, parameter in backbone.named_parameters():
        if layer_of(name, found) <= n_layers:
            parameter.requires_grad_(False)


class Thaw:
    """Freezes all but the readout at first and thaws the layers one after another, the top one first. A `Hook`."""

    def __init__(self, parameter_groups: Sequence[dict[str, Any]], *, ratio: float) -> None:
        depths: dict[int, list[nn.Parameter]] = {}
        for group in parameter_groups:
            depths.setdefault(group["depth"], []).extend(group["params"])
        _, *layers = sorted(depths, reverse=True)  # the readout learns from the start
        self.layers = [depths[depth] for depth in layers]
        self.ratio = ratio

    def begin(self, model: nn.Module, *, step: int, n_steps: int, state: dict[str, Any] | None) -> None:
        """Freeze what has not had its turn at a step."""
        # The first thaws when the head alone has learnt for as long as each layer waits for the next.
        waits = self.ratio * n_steps / max(len(self.layers), 1)
        self.thaws_at = [round(waits * (number + 1)) for number in range(len(self.layers))]
        self.after_step(step)

    def after_step(self, step: int) -> None:
        """Thaw the layers whose turn it is."""
        for layer, thaws_at in zip(self.layers, self.thaws_at, strict=True):
            for parameter in layer:
                parameter.requires_grad_(step >= thaws_at)

    def weights(self, evaluate: Callable[[nn.Module], float] | None) -> dict[str, torch.Tensor] | None:
        """Return None: the model's own are kept."""
        return None

    def state(self) -> dict[str, Any]:
        """Return nothing: the step says it all."""
        return {}
