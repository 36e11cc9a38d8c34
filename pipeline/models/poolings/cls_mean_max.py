"""The state of the first token, the mean and the maximum of the last layer's tokens, side by side.

Source: Howard and Ruder, ULMFiT, 2018, section 3.3 (concat pooling), https://arxiv.org/abs/1801.06146
Differs from the paper: the first token stands in the place of the last state of an LSTM.
"""

import torch
from torch import nn

from pipeline.models.token_states import MaxPooling, masked_mean


class ClsMeanMaxPooling(nn.Module):
    """Lays three views of a text side by side."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.output_size = 3 * hidden_size
        self.largest = MaxPooling()

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        states = hidden_states[-1]
        views = [states[:, 0], masked_mean(states, attention_mask), self.largest(hidden_states, attention_mask)]
        return torch.cat(views, dim=-1)  # (B, 3H)


def build(*, hidden_size: int) -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, 3H)."""
    return ClsMeanMaxPooling(hidden_size)
