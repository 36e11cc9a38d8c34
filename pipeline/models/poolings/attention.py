"""A learned weighting of the tokens of the last layer.

Source: Yang et al., Hierarchical Attention Networks, 2016, eq. 5 to 7, https://aclanthology.org/N16-1174
"""

import torch
from torch import nn


class AttentionPooling(nn.Module):
    """Scores each token by a small network and averages with the softmax of the scores."""

    def __init__(self, hidden_size: int, attention_size: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden_size, attention_size)
        self.context = nn.Linear(attention_size, 1, bias=False)

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        states = hidden_states[-1]
        scores = self.context(torch.tanh(self.project(states))).squeeze(-1)  # (B, T)
        # The lowest finite number, not -inf: a row of padding only gets equal weights instead of NaN.
        scores = scores.masked_fill(attention_mask == 0, torch.finfo(scores.dtype).min)
        return (scores.softmax(dim=1).unsqueeze(-1) * states).sum(dim=1)  # (B, H)


def build(*, hidden_size: int, n_layers: int, attention_size: int = 128) -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H)."""
    return AttentionPooling(hidden_size, attention_size)
