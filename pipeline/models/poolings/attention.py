"""A learned weighting of the tokens of the last layer.

Source: Yang et al., Hierarchical Attention Networks, 2016, eq. 5 to 7, https://aclanthology.org/N16-1174
"""

from torch import nn

from pipeline.models.token_states import AttentionPooling
from pipeline.ranges import PositiveInt


def build(*, hidden_size: int, attention_size: PositiveInt = 128) -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H)."""
    return AttentionPooling(hidden_size, attention_size)
