"""Shared and private states: beside the shared encoder's states each task has its own, and a gate mixes both.

Source: Liu et al., Adversarial Multi-task Learning for Text Classification, 2017, eq. 8 (a discriminator of tasks) and 11
(orthogonality), https://arxiv.org/abs/1704.05742; Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation,
2015 (gradient reversal), https://arxiv.org/abs/1409.7495; Houlsby et al., Parameter-Efficient Transfer Learning, 2019
(adapter), https://arxiv.org/abs/1902.00751
Differs from the papers: what is private is an adapter over the last states, or as in the first paper an encoder over the
embeddings that all tasks share, of transformer layers; a gate mixes, and both penalties are of the mean states of each row.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

ENCODERS = "one"
HEAD_SIZE = 64  # of the private attention, as far as it divides the width


class PrivateEncoder(nn.Module):
    """New transformer layers over the states of the embeddings."""

    def __init__(self, hidden_size: int, n_layers: int) -> None:
        super().__init__()
        n_heads = next(n for n in range(max(1, hidden_size // HEAD_SIZE), 0, -1) if hidden_size % n == 0)
        layer = nn.TransformerEncoderLayer(
            hidden_size, n_heads, dim_feedforward=4 * hidden_size, activation="gelu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)

    def forward(self, embedded: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        padding = ~attention_mask.bool()
        padding = padding & ~padding.all(dim=1, keepdim=True)  # a row of padding only attends to itself: finite
        states: torch.Tensor = self.layers(embedded, src_key_padding_mask=padding)  # (B, T, H)
        return states


class PrivateStates(nn.Module):
    """Puts `gate * shared + (1 - gate) * private` in the place of the last states.

    `means` are the mean shared and private states (B, H) of the rows that it read last while training.
    """

    means: tuple[torch.Tensor, torch.Tensor] | None = None

    def __init__(self, hidden_size: int, *, adapter_size: int, private_layers: int | None) -> None:
        super().__init__()
        self.encoder = None if private_layers is None else PrivateEncoder(hidden_size, private_layers)
        if self.encoder is None:
            self.adapter = nn.Sequential(
                nn.Linear(hidden_size, adapter_size), nn.GELU(), nn.Linear(adapter_size, hidden_size)
            )
        self.gate = nn.Linear(2 * hidden_size, hidden_size)

    def forward(
        self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        shared = hidden_states[-1]
        private = self.adapter(shared) if self.encoder is None else self.encoder(hidden_states[0], attention_mask)
        gate = torch.sigmoid(self.gate(torch.cat([shared, private], dim=-1)))  # (B, T, H)
        mask = attention_mask[..., None]  # (B, T, 1)
        first, second = ((states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1) for states in (shared, private))
        self.means = (first, second) if self.training else None
        return (*hidden_states[:-1], gate * shared + (1 - gate) * private)


class Discriminator(nn.Module):
    """Tells a row's task by its shared states, which learn that it cannot: their gradient is reversed."""

    def __init__(self, tasks: Sequence[str], hidden_size: int, weight: float) -> None:
        super().__init__()
        self.tasks, self.weight = list(tasks), weight
        self.logits = nn.Linear(hidden_size, len(tasks))

    def forward(self, classifiers: Mapping[str, Any], n_rows: Mapping[str, int]) -> torch.Tensor:
        losses = []
        for task in n_rows:
            shared = classifiers[task].readout.stage.means[0]
            logits = self.logits(2 * shared.detach() - shared).float()  # the value of the states, minus their gradient
            right = torch.full((len(logits),), self.tasks.index(task), device=logits.device)
            losses.append(functional.cross_entropy(logits, right, reduction="sum"))
        return self.weight * torch.stack(losses).sum()


def stage(
    *, hidden_size: int, private: Literal["adapter", "encoder"], adapter_size: int, private_layers: int
) -> PrivateStates:
    """Return what stands between the shared encoder and the readout of one task."""
    n_layers = private_layers if private == "encoder" else None
    return PrivateStates(hidden_size, adapter_size=adapter_size, private_layers=n_layers)


def build(
    *,
    tasks: Sequence[str],
    hidden_size: int,
    private: Literal["adapter", "encoder"] = "adapter",
    adapter_size: Annotated[int, Field(ge=1)] = 64,
    private_layers: Annotated[int, Field(ge=1)] = 2,
    penalty: Literal["orthogonal", "adversarial"] = "orthogonal",
    weight: Annotated[float, Field(ge=0)] = 0.1,
) -> Callable[[Mapping[str, Any], Mapping[str, int]], torch.Tensor]:
    """Return the penalty: `weight` times each row's squared cosine of shared and private states, or loss of a discriminator.

    Args:
        tasks: all of them.
        hidden_size: width of the shared states.
        private: what each task has of its own: an adapter over the last shared states, or layers over the embeddings.
        adapter_size: width of the adapters.
        private_layers: of private encoders.
        penalty: `orthogonal`: shared and private states are to be so; `adversarial`: shared states are to hide the task.
        weight: of the penalty; 0: none.
    """

    def overlap(classifiers: Mapping[str, Any], n_rows: Mapping[str, int]) -> torch.Tensor:
        means = [classifiers[task].readout.stage.means for task in n_rows]
        cosines = [functional.cosine_similarity(shared, own, dim=-1).float() for shared, own in means]
        return weight * torch.stack([(cosine**2).sum() for cosine in cosines]).sum()

    return overlap if penalty == "orthogonal" else Discriminator(tasks, hidden_size, weight)
