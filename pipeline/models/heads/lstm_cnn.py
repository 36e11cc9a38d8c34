"""A bidirectional LSTM over the token states whose outputs are convolved as in `text_cnn`.

Source: Wen et al., Learning text representation using recurrent convolutional neural network with highway layers, 2016,
https://arxiv.org/abs/1606.06905
Differs from the paper: no highway layer between the two; widths, filters and maximum over time are those of `text_cnn`.
"""

import torch
from torch import nn

from pipeline.models.heads.text_cnn import TextCnn
from pipeline.models.token_states import read_both_ways
from pipeline.ranges import PositiveInt, Ratio

READS = "tokens"


class LstmCnn(nn.Module):
    """Finds the strongest match of each filter in what an LSTM made of the tokens."""

    def __init__(
        self, input_size: int, n_outputs: int, hidden_size: int, widths: list[int], n_filters: int, dropout: float
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True, bidirectional=True)
        self.cnn = TextCnn(2 * hidden_size, n_outputs, widths, n_filters, dropout)

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        outputs = read_both_ways(self.lstm, states, attention_mask)  # (B, T, 2F)
        return self.cnn(outputs, attention_mask)  # (B, C)


def build(
    *,
    input_size: int,
    n_outputs: int,
    hidden_size: PositiveInt = 128,
    widths: list[PositiveInt] | None = None,
    n_filters: PositiveInt = 100,
    dropout: Ratio = 0.2,
) -> nn.Module:
    """Return the head (B, T, H), mask (B, T) -> logits (B, C). Padding must be on the right; `widths` defaults to 3, 4, 5."""
    return LstmCnn(input_size, n_outputs, hidden_size, widths or [3, 4, 5], n_filters, dropout)
