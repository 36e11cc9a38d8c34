"""Shared and private states: beside the shared encoder's states each task has its own, of an adapter, and a gate mixes both.

Source: Liu et al., Adversarial Multi-task Learning for Text Classification, 2017, eq. 11 (orthogonality),
https://arxiv.org/abs/1704.05742; Houlsby et al., Parameter-Efficient Transfer Learning, 2019 (adapter), https://arxiv.org/abs/1902.00751
Differs from the papers: what is private is an adapter over the last states; orthogonal are the mean states of each row.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

ENCODERS = "one"


class PrivateStates(nn.Module):
    """Puts `gate * shared + (1 - gate) * private` in the place of the last states; `overlap` is that of the last rows."""

    overlap: torch.Tensor | None = None

    def __init__(self, hidden_size: int, adapter_size: int) -> None:
        super().__init__()
        self.adapter = nn.Sequential(
            nn.Linear(hidden_size, adapter_size), nn.GELU(), nn.Linear(adapter_size, hidden_size)
        )
        self.gate = nn.Linear(2 * hidden_size, hidden_size)

    def forward(
        self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        shared = hidden_states[-1]
        private = self.adapter(shared)  # (B, T, H)
        gate = torch.sigmoid(self.gate(torch.cat([shared, private], dim=-1)))  # (B, T, H)
        mask = attention_mask[..., None]  # (B, T, 1)
        first, second = ((states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1) for states in (shared, private))
        self.overlap = (
            functional.cosine_similarity(first, second, dim=-1).float() ** 2 if self.training else None
        )  # (B,)
        return (*hidden_states[:-1], gate * shared + (1 - gate) * private)


def stage(*, hidden_size: int, adapter_size: int) -> PrivateStates:
    """Return what stands between the shared encoder and the readout of one task."""
    return PrivateStates(hidden_size, adapter_size)


def build(
    *, adapter_size: Annotated[int, Field(ge=1)] = 64, weight: Annotated[float, Field(ge=0)] = 0.1
) -> Callable[[Mapping[str, Any], Mapping[str, int]], torch.Tensor]:
    """Return the penalty: `weight` times the squared cosine of each row's shared and private states.

    Args:
        adapter_size: width of the adapters.
        weight: of the penalty; 0: none.
    """

    def penalty(classifiers: Mapping[str, Any], n_rows: Mapping[str, int]) -> torch.Tensor:
        return weight * torch.stack([classifiers[task].readout.stage.overlap.sum() for task in n_rows]).sum()

    return penalty
