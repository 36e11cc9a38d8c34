"""A bidirectional GRU over the token states: the head `bilstm` with a cell of three quarters of the weights.

Source: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014, section 2.3,
https://arxiv.org/abs/1406.1078
Differs from the paper: torch's cell, which applies the reset gate after the recurrent product, and the reduction of `bilstm`.
"""

from torch import nn

from pipeline.models.heads.bilstm import BiRecurrent
from pipeline.ranges import PositiveInt, Ratio

READS = "tokens"


def build(*, input_size: int, n_outputs: int, hidden_size: PositiveInt = 128, dropout: Ratio = 0.2) -> nn.Module:
    """Return the head (B, T, H), mask (B, T) -> logits (B, C). Padding must be on the right."""
    return BiRecurrent(nn.GRU, input_size, n_outputs, hidden_size, dropout)
