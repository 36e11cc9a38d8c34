"""Cross-entropy, with optional label smoothing.

Source: Szegedy et al., Rethinking the Inception Architecture, 2016, section 7 (smoothing), https://arxiv.org/abs/1512.00567
"""

from collections.abc import Callable

import torch
from torch.nn import functional

from pipeline.ranges import Ratio

FORMS = ("class",)


def build(*, label_smoothing: Ratio = 0.0) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss (logits (B, C), labels (B,)) -> losses (B,)."""

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return functional.cross_entropy(precise, labels, reduction="none", label_smoothing=label_smoothing)

    return loss
