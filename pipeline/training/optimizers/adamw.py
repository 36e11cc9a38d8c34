"""Adam with decoupled weight decay, from torch.

Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, https://arxiv.org/abs/1711.05101
"""

from typing import Any

import torch

from pipeline.ranges import PositiveFloat, Ratio


def build(
    *, parameter_groups: list[dict[str, Any]], beta1: Ratio = 0.9, beta2: Ratio = 0.999, epsilon: PositiveFloat = 1e-8
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr` and `weight_decay`."""
    # Fused: one pass over each weight instead of several, on a CPU too, where large embeddings make steps slow.
    return torch.optim.AdamW(parameter_groups, betas=(beta1, beta2), eps=epsilon, fused=True)
