"""Task attention: one encoder for all tasks, over whose layers each task attends, token by token.

Source: Liu et al., End-to-End Multi-Task Learning with Attention, 2019, https://arxiv.org/abs/1803.10704
Differs from the paper, which masks features of a convolutional network: a query per task weighs the layers of each token.
"""

from collections.abc import Callable

import torch
from torch import nn

ENCODERS = "one"


class LayerAttention(nn.Module):
    """Puts a mix of all layers, weighed for each token, in the place of the last states."""

    def __init__(self, hidden_size: int, n_layers: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden_size, 1, bias=False)
        self.prior = nn.Parameter(torch.zeros(n_layers + 1))
        nn.init.zeros_(self.query.weight)  # at first the plain mean of the layers

    def forward(
        self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        layers = torch.stack(hidden_states, dim=2)  # (B, T, L + 1, H)
        weights = (self.query(layers).squeeze(-1) + self.prior).softmax(dim=-1)  # (B, T, L + 1)
        return (*hidden_states[:-1], (weights[..., None] * layers).sum(dim=2))


def stage(*, hidden_size: int, n_layers: int) -> LayerAttention:
    """Return what stands between the shared encoder and the readout of one task."""
    return LayerAttention(hidden_size, n_layers)


def build() -> Callable[..., None]:
    """Return the penalty: none."""
    return lambda classifiers, n_rows: None
