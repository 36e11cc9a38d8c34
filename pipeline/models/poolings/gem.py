"""Generalised mean over the tokens, with a power that is learnt: 1 is the mean, infinity the maximum.

Source: Radenović et al., Fine-tuning CNN Image Retrieval with No Human Annotation, 2018, eq. 3, https://arxiv.org/abs/1711.02512
Differs from the paper: tokens instead of places of an image; states below `smallest` count as that, for they have no power.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from pipeline.models.token_states import masked_mean


class GemPooling(nn.Module):
    """Raises the states to a power, averages and takes the root."""

    def __init__(self, power: float, smallest: float) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power))
        self.smallest = smallest

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        # In float32: powers of what half precision holds leave its range.
        with torch.autocast(attention_mask.device.type, enabled=False):
            states = hidden_states[-1].float().clamp(min=self.smallest)  # (B, T, H)
            mean = masked_mean(states.pow(self.power), attention_mask)  # (B, H), zeros for padding only
            return mean.clamp(min=self.smallest**2).pow(1 / self.power)


def build(
    *, power: Annotated[float, Field(ge=1, le=10)] = 3.0, smallest: Annotated[float, Field(gt=0, lt=1)] = 1e-6
) -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H); the power starts at `power`."""
    return GemPooling(float(power), smallest)
