"""The state of the first token, the pooling of BERT.

Source: Devlin et al., BERT, 2019, section 4.1, https://arxiv.org/abs/1810.04805
Differs from the paper: no dense layer and tanh; the head does that.
"""

import torch
from torch import nn


class ClsPooling(nn.Module):
    """Takes the first token of the last layer."""

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        return hidden_states[-1][:, 0]  # (B, H)


def build() -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H)."""
    return ClsPooling()
