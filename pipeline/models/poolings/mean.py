"""The mean of the last layer's token states, padding left out.

Source: Reimers and Gurevych, Sentence-BERT, 2019, section 3, https://arxiv.org/abs/1908.10084
"""

import torch
from torch import nn


def masked_mean(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return the mean (B, H) over the tokens of (B, T, H) whose mask is 1; zeros for a row of padding only.

    >>> masked_mean(torch.tensor([[[2.0], [4.0], [9.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[3.]])
    """
    mask = attention_mask.unsqueeze(-1).to(states.dtype)  # (B, T, 1)
    return (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)  # (B, H)


class MeanPooling(nn.Module):
    """Averages the last layer over the tokens."""

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        return masked_mean(hidden_states[-1], attention_mask)  # (B, H)


def build(*, hidden_size: int, n_layers: int) -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H)."""
    return MeanPooling()
