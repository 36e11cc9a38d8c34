"""A hidden layer between the pooled vector and the logits, as in RoBERTa's classification head.

Source: Liu et al., RoBERTa, 2019, https://arxiv.org/abs/1907.11692 (the fine-tuning head of its reference code)
Differs from it: GELU instead of tanh, a hidden size of its own.
"""

from torch import nn

from pipeline.ranges import PositiveInt, Ratio

READS = "vector"


def build(*, input_size: int, n_outputs: int, hidden_size: PositiveInt = 256, dropout: Ratio = 0.1) -> nn.Module:
    """Return the head (B, H) -> logits (B, C)."""
    hidden = [nn.Dropout(dropout), nn.Linear(input_size, hidden_size), nn.GELU()]  # (B, F)
    return nn.Sequential(*hidden, nn.Dropout(dropout), nn.Linear(hidden_size, n_outputs))
