"""A transformer layer of its own over the token states, whose outputs are averaged.

Source: Vaswani et al., Attention Is All You Need, 2017, section 3.1, https://arxiv.org/abs/1706.03762; Pappagari et al.,
Hierarchical Transformers for Long Document Classification, 2019 (over the vectors of windows), https://arxiv.org/abs/1910.10781
Differs from the papers: normalised before each part, which needs no warm-up (Xiong et al., 2020); no new positions, since
the states have theirs.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from pipeline.models.token_states import masked_mean

READS = "tokens"


class TransformerHead(nn.Module):
    """Lets the tokens look at each other once more and classifies their mean."""

    def __init__(self, input_size: int, n_outputs: int, n_heads: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        # Heads must divide the width: that of stitched states is a sum.
        self.project = nn.Linear(input_size, hidden_size)
        self.layer = nn.TransformerEncoderLayer(
            hidden_size, n_heads, 4 * hidden_size, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden_size, n_outputs))

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        padding = attention_mask == 0  # (B, T)
        padding = padding & ~padding.all(dim=1, keepdim=True)  # attention over nothing would be NaN
        outputs = self.norm(self.layer(self.project(states), src_key_padding_mask=padding))  # (B, T, F)
        return self.classify(masked_mean(outputs, attention_mask))  # (B, C)


def build(
    *,
    input_size: int,
    n_outputs: int,
    n_heads: Annotated[int, Field(ge=1)] = 4,
    width_per_head: Annotated[int, Field(ge=1)] = 32,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
) -> nn.Module:
    """Return the head (B, T, H), mask (B, T) -> logits (B, C)."""
    return TransformerHead(input_size, n_outputs, n_heads, n_heads * width_per_head, dropout)
