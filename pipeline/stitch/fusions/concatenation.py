"""The sides' states beside each other, all of them kept: what comes next finds what matters."""

from collections.abc import Sequence

import torch
from torch import nn


class Concatenation(nn.Module):
    """Lays the states of each token end to end."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.output_size = sum(sizes)

    def forward(self, states: Sequence[torch.Tensor], attention_mask: torch.Tensor) -> torch.Tensor:
        return torch.cat(list(states), dim=-1)  # (B, T, sum of the H_i)


def build(*, sizes: Sequence[int]) -> nn.Module:
    """Return the fusion of two or more (B, T, H_i), mask (B, T) -> (B, T, sum of the H_i)."""
    return Concatenation(sizes)
