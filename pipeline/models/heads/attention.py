"""A learned weighting of the token states and one linear layer over their average.

Source: Yang et al., Hierarchical Attention Networks, 2016, eq. 5 to 7, https://aclanthology.org/N16-1174
Differs from the paper: one level instead of words, then sentences; the states are the encoder's, not those of a GRU.
The pooling `attention` before the head `linear` is the same function; as a head it stands beside others that share a pooling.
"""

import torch
from torch import nn

from pipeline.models.token_states import AttentionPooling
from pipeline.ranges import PositiveInt, Ratio

READS = "tokens"


class AttentionHead(nn.Module):
    """Averages the tokens with learned weights and classifies the average."""

    def __init__(self, input_size: int, n_outputs: int, attention_size: int, dropout: float) -> None:
        super().__init__()
        self.pooling = AttentionPooling(input_size, attention_size)
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(input_size, n_outputs))

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.classify(self.pooling((states,), attention_mask))  # (B, C)


def build(*, input_size: int, n_outputs: int, attention_size: PositiveInt = 128, dropout: Ratio = 0.1) -> nn.Module:
    """Return the head (B, T, H), mask (B, T) -> logits (B, C)."""
    return AttentionHead(input_size, n_outputs, attention_size, dropout)
