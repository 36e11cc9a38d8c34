"""Dropout and one linear layer over the pooled vector, the head of BERT fine-tuning.

Source: Devlin et al., BERT, 2019, section 4.1, https://arxiv.org/abs/1810.04805
"""

from torch import nn

from pipeline.ranges import Ratio

READS = "vector"


def build(*, input_size: int, n_outputs: int, dropout: Ratio = 0.1) -> nn.Module:
    """Return the head (B, H) -> logits (B, C)."""
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(input_size, n_outputs))
