"""The largest value of each hidden unit over the tokens of the last layer.

Source: Reimers and Gurevych, Sentence-BERT, 2019, section 3, https://arxiv.org/abs/1908.10084
"""

from torch import nn

from pipeline.models.token_states import MaxPooling


def build() -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H)."""
    return MaxPooling()
