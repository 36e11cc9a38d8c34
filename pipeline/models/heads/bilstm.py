"""A bidirectional LSTM over the token states, reduced by its mean and maximum over the tokens.

Source: Conneau et al., Supervised Learning of Universal Sentence Representations, 2017, section 3.2 (BiLSTM-max),
https://arxiv.org/abs/1705.02364
Differs from the paper: the mean stands beside the maximum.
"""

import torch
from torch import nn

from pipeline.models.token_states import MaxPooling, masked_mean, read_both_ways
from pipeline.ranges import PositiveInt, Ratio

READS = "tokens"


class BiRecurrent(nn.Module):
    """Reads the tokens in both directions with LSTM or GRU cells."""

    def __init__(
        self, cell: type[nn.LSTM | nn.GRU], input_size: int, n_outputs: int, hidden_size: int, dropout: float
    ) -> None:
        super().__init__()
        # Called `lstm` whatever the cell: that name is in the files of models trained before there was a choice.
        self.lstm = cell(input_size, hidden_size, batch_first=True, bidirectional=True)
        self.largest = MaxPooling()
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * hidden_size, n_outputs))

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        outputs = read_both_ways(self.lstm, states, attention_mask)  # (B, T, 2F)
        reduced = [masked_mean(outputs, attention_mask), self.largest((outputs,), attention_mask)]  # 2 x (B, 2F)
        return self.classify(torch.cat(reduced, dim=-1))  # (B, C)


def build(*, input_size: int, n_outputs: int, hidden_size: PositiveInt = 128, dropout: Ratio = 0.2) -> nn.Module:
    """Return the head (B, T, H), mask (B, T) -> logits (B, C). Padding must be on the right."""
    return BiRecurrent(nn.LSTM, input_size, n_outputs, hidden_size, dropout)
