"""A sum of the projected sides, weighted anew for every token and channel by gates that see all sides.

Source: Arevalo et al., Gated Multimodal Units for Information Fusion, 2017, https://arxiv.org/abs/1702.01992
Differs from the paper: gates per token, not per sample; a channel's gates are a softmax over the sides, which for two sides
is the paper's z and 1 - z, and for more keeps their sum at 1 (there, free sigmoids); projections are linear, without tanh.
"""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.ranges import PositiveInt


class GatedSum(nn.Module):
    """Chooses for each token and channel how much of each side to take."""

    def __init__(self, sizes: Sequence[int], hidden_size: int) -> None:
        super().__init__()
        self.output_size = hidden_size
        self.project = nn.ModuleList(nn.Linear(size, hidden_size) for size in sizes)
        self.gate = nn.Linear(sum(sizes), len(sizes) * hidden_size)

    def forward(self, states: Sequence[torch.Tensor], attention_mask: torch.Tensor) -> torch.Tensor:
        sides = [project(side) for project, side in zip(self.project, states, strict=True)]
        gates = self.gate(torch.cat(list(states), dim=-1)).unflatten(-1, (len(sides), -1))  # (B, T, sides, F)
        return (gates.softmax(dim=2) * torch.stack(sides, dim=2)).sum(dim=2)  # (B, T, F)


def build(*, sizes: Sequence[int], hidden_size: PositiveInt | None = None) -> nn.Module:
    """Return the fusion of two or more (B, T, H_i), mask (B, T) -> (B, T, hidden_size), by default the frame's size."""
    return GatedSum(sizes, hidden_size or sizes[0])
