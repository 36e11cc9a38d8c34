"""The mean over tokens of the mean of the last four layers.

Source: Devlin et al., BERT, 2019, section 5.3 and table 7, https://arxiv.org/abs/1810.04805
Differs from the paper: the four layers are averaged, not concatenated, so that the width stays H.
"""

import torch
from torch import nn

from pipeline.models.token_states import masked_mean


class LastFourLayersPooling(nn.Module):
    """Averages the last four layers (all of them in a shallower model), then the tokens."""

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        layers = torch.stack(hidden_states[1:][-4:] or hidden_states)  # (4, B, T, H)
        return masked_mean(layers.mean(dim=0), attention_mask)  # (B, H)


def build() -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H)."""
    return LastFourLayersPooling()
