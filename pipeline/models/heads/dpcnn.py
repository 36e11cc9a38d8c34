"""A deep pyramid of convolutions: blocks with shortcuts, each on half as many positions as the one before.

Source: Johnson and Zhang, Deep Pyramid Convolutional Neural Networks for Text Categorization, 2017, section 2,
https://aclanthology.org/P17-1052
Differs from the paper: the encoder's states are its region embeddings; the number of blocks is fixed, where the paper goes on
until one position is left; the rest is reduced by its maximum.
"""

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import nn

from pipeline.models.token_states import MaxPooling

READS = "tokens"


class DeepPyramid(nn.Module):
    """Convolves, halves and convolves again; padding is zero before every convolution."""

    def __init__(self, input_size: int, n_outputs: int, n_filters: int, n_blocks: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(input_size, n_filters)
        pairs = ([nn.Conv1d(n_filters, n_filters, 3, padding=1) for _ in range(2)] for _ in range(n_blocks + 1))
        self.blocks = nn.ModuleList(nn.ModuleList(pair) for pair in pairs)
        self.largest = MaxPooling()
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(n_filters, n_outputs))

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = (attention_mask != 0).unsqueeze(1).to(states.dtype)  # (B, 1, T)
        channels = self.project(states).transpose(1, 2) * mask  # (B, F, T)
        for number, convolutions in enumerate(self.blocks):
            if number:
                channels, mask = halved(channels, mask)
            before = channels
            for convolution in cast(nn.ModuleList, convolutions):  # pre-activation, as in the paper
                channels = convolution(torch.relu(channels)) * mask
            channels = channels + before
        return self.classify(self.largest((channels.transpose(1, 2),), mask.squeeze(1)))  # (B, C)


def halved(channels: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the maxima of windows of three tokens at every second position, (B, F, T / 2), and their mask (B, 1, T / 2)."""
    seen = channels.masked_fill(mask == 0, torch.finfo(channels.dtype).min)
    pooled = nn.functional.max_pool1d(seen, 3, stride=2, padding=1)
    mask = mask[..., ::2]  # a window's middle is a token, or nothing of it is: padding is on the right
    return pooled.masked_fill(mask == 0, 0.0), mask


def build(
    *,
    input_size: int,
    n_outputs: int,
    n_filters: Annotated[int, Field(ge=1)] = 250,
    n_blocks: Annotated[int, Field(ge=1)] = 3,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
) -> nn.Module:
    """Return the head (B, T, H), mask (B, T) -> logits (B, C). Padding must be on the right."""
    return DeepPyramid(input_size, n_outputs, n_filters, n_blocks, dropout)
