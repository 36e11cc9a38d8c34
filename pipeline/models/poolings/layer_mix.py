"""A learned mix of all layers, averaged over the tokens.

Source: Peters et al., Deep contextualized word representations (ELMo), 2018, eq. 1, https://arxiv.org/abs/1802.05365
"""

import torch
from torch import nn

from pipeline.models.token_states import masked_mean


class LayerMixPooling(nn.Module):
    """Weighs the L + 1 hidden states by a softmax and scales the sum."""

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n_layers + 1))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        weights = self.weights.softmax(dim=0)
        mixed = sum(weight * states for weight, states in zip(weights, hidden_states, strict=True))  # (B, T, H)
        return masked_mean(self.scale * mixed, attention_mask)  # (B, H)


def build(*, n_layers: int) -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H)."""
    return LayerMixPooling(n_layers)
