"""The frame's tokens look up what they need in each other side, and keep their own states beside it.

Source: Lu et al., ViLBERT, 2019, section 2.2 (co-attention), https://arxiv.org/abs/1908.02265, with the attention of
Vaswani et al., Attention Is All You Need, 2017, section 3.2.2, https://arxiv.org/abs/1706.03762
Differs from ViLBERT: only the frame asks; one layer without feed-forward block, residual and normalisation, its result
concatenated to the frame's states. Positions are known only as far as the states carry them.
"""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.ranges import PositiveInt

DIVIDES = {"n_heads": "hidden_size"}


class CrossAttention(nn.Module):
    """Attends from every token of the frame to all tokens of each other side."""

    def __init__(self, sizes: Sequence[int], hidden_size: int, n_heads: int) -> None:
        super().__init__()
        self.output_size = sizes[0] + hidden_size * (len(sizes) - 1)
        self.project = nn.ModuleList(nn.Linear(size, hidden_size) for size in sizes)
        self.attend = nn.ModuleList(nn.MultiheadAttention(hidden_size, n_heads, batch_first=True) for _ in sizes[1:])

    def forward(self, states: Sequence[torch.Tensor], attention_mask: torch.Tensor) -> torch.Tensor:
        queries, *others = [project(side) for project, side in zip(self.project, states, strict=True)]
        # A row of padding only may look at all of it: a softmax over no key at all is NaN.
        padding = (attention_mask == 0) & attention_mask.any(dim=1, keepdim=True)  # (B, T)
        attended = [
            attend(queries, other, other, key_padding_mask=padding, need_weights=False)[0]  # (B, T, F)
            for attend, other in zip(self.attend, others, strict=True)
        ]
        return torch.cat([states[0], *attended], dim=-1)  # (B, T, H_0 + F x others)


def build(*, sizes: Sequence[int], hidden_size: PositiveInt = 128, n_heads: PositiveInt = 4) -> nn.Module:
    """Return the fusion of two or more (B, T, H_i), mask (B, T) -> (B, T, H_0 + hidden_size for each other side)."""
    return CrossAttention(sizes, hidden_size, n_heads)
