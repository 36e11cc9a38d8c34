"""Convolutions of several widths over the token states, each reduced by its maximum over time.

Source: Kim, Convolutional Neural Networks for Sentence Classification, 2014, https://arxiv.org/abs/1408.5882
"""

import torch
from torch import nn

from pipeline.ranges import PositiveInt, Ratio

READS = "tokens"


class TextCnn(nn.Module):
    """Finds the strongest match of each filter anywhere in the text."""

    def __init__(self, input_size: int, n_outputs: int, widths: list[int], n_filters: int, dropout: float) -> None:
        super().__init__()
        layers = (nn.Conv1d(input_size, n_filters, width, padding=width // 2) for width in widths)
        self.convolutions = nn.ModuleList(layers)
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(n_filters * len(widths), n_outputs))

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.unsqueeze(1).to(states.dtype)  # (B, 1, T)
        channels = states.transpose(1, 2) * mask  # (B, H, T)
        features = []
        for convolution in self.convolutions:
            # An even width gives one position more than T: cut it, so that each position belongs to a token.
            matches = torch.relu(convolution(channels))[..., : channels.shape[-1]]  # (B, F, T)
            # After relu nothing is below zero: a masked position at zero never wins over a match.
            features.append((matches * mask).amax(dim=-1))  # (B, F)
        return self.classify(torch.cat(features, dim=-1))  # (B, C)


def build(
    *,
    input_size: int,
    n_outputs: int,
    widths: list[PositiveInt] | None = None,
    n_filters: PositiveInt = 100,
    dropout: Ratio = 0.2,
) -> nn.Module:
    """Return the head (B, T, H), mask (B, T) -> logits (B, C). `widths` defaults to the paper's 3, 4, 5."""
    return TextCnn(input_size, n_outputs, widths or [3, 4, 5], n_filters, dropout)
