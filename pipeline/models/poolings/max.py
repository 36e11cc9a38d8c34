"""The largest value of each hidden unit over the tokens of the last layer.

Source: Reimers and Gurevych, Sentence-BERT, 2019, section 3, https://arxiv.org/abs/1908.10084
"""

import torch
from torch import nn


class MaxPooling(nn.Module):
    """Takes the maximum over the tokens; zeros for a row of padding only."""

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        padding = attention_mask.unsqueeze(-1) == 0  # (B, T, 1)
        largest = hidden_states[-1].masked_fill(padding, float("-inf")).amax(dim=1)  # (B, H)
        return largest.masked_fill(padding.all(dim=1), 0.0)  # (B, H)


def build(*, hidden_size: int, n_layers: int) -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H)."""
    return MaxPooling()
