"""The smallest value of each hidden unit over the tokens of the last layer: max pooling upside down."""

import torch
from torch import nn

from pipeline.models.token_states import MaxPooling


class MinPooling(nn.Module):
    """Takes the minimum over the tokens; zeros for a row of padding only."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = MaxPooling()

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        return -self.largest((-hidden_states[-1],), attention_mask)  # (B, H)


def build() -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H)."""
    return MinPooling()
