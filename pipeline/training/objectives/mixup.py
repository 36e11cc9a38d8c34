"""Mixup of hidden states: the loss of points between two rows of the batch, for both of their labels.

Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018, section 2, https://arxiv.org/abs/1710.09412;
Guo et al., Augmenting Data with Mixup for Sentence Classification, 2019, https://arxiv.org/abs/1905.08941 (`embeddings` is
its wordMixup, `last` before a head that reads a vector its senMixup); Chen et al., MixText, 2020 (the larger
of the two shares is the row's own), https://arxiv.org/abs/2004.12239
Differs from the papers: each row has its own share, where their code draws one per batch. Partners are of the same
micro-batch; in one of a single row it is mixed with itself, which is the plain loss.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch

from pipeline.ranges import PositiveFloat


def build(
    *, loss: Callable[..., torch.Tensor], alpha: PositiveFloat = 0.2, layer: Literal["last", "embeddings"] = "last"
) -> Callable[[Any, dict[str, torch.Tensor], float], torch.Tensor]:
    """Return the objective (model, batch, progress) -> summed loss.

    Args:
        loss: of logits and labels.
        alpha: the shares are from Beta(alpha, alpha): the larger, the closer to half and half.
        layer: what is mixed: what the head reads (the pooled vector, or the last states token by token), or the vectors of
            the tokens before the first layer.
    """

    def loss_sum(model: Any, batch: dict[str, torch.Tensor], progress: float) -> torch.Tensor:
        labels = batch["labels"]
        share = draw_shares(len(labels), alpha).to(labels.device)
        partner = torch.randperm(len(labels)).to(labels.device)
        logits = (mixed_last if layer == "last" else mixed_embeddings)(model, batch, partner, share)
        return (share * loss(logits, labels) + (1 - share) * loss(logits, labels[partner])).sum()

    return loss_sum


def draw_shares(n_rows: int, alpha: float) -> torch.Tensor:
    """Return each row's own share (N,) in [0.5, 1]; the rest is its partner's."""
    # Not torch's Beta: below alpha 0.01 it gives halves where it should give ones (a quarter of all draws at 0.001).
    generator = np.random.default_rng(int(torch.randint(2**62, ())))
    share = torch.from_numpy(generator.beta(alpha, alpha, n_rows))
    return torch.maximum(share, 1 - share).float()


def mix(values: torch.Tensor, partner: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return (B, ...) between each row and its partner.

    >>> mix(torch.tensor([[0.0], [4.0]]), torch.tensor([1, 0]), torch.tensor([0.75, 1.0])).tolist()
    [[1.0], [4.0]]
    """
    share = share.view(-1, *[1] * (values.dim() - 1))
    return share * values + (1 - share) * values[partner]


def united(mask: torch.Tensor, partner: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return the mask (B, T) of the tokens of either row; a partner without a share brings none.

    >>> mask = torch.tensor([[1, 0], [1, 1]])
    >>> united(mask, torch.tensor([1, 0]), torch.tensor([0.9, 0.9])).tolist()
    [[1, 1], [1, 1]]
    """
    return torch.where((share < 1).unsqueeze(1), mask | mask[partner], mask)


def mixed_last(model: Any, batch: dict[str, torch.Tensor], partner: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return the logits (B, C) of mixed vectors, or of mixed states in which padding is zero."""
    mask = batch["attention_mask"]
    features = model.readout.features(model.hidden_states(batch), mask)  # (B, H) or (B, T, H)
    if features.dim() == 3:  # what stands in padding must not reach the partner's tokens
        features = features.masked_fill(model.readout.feature_mask(mask).unsqueeze(-1) == 0, 0.0)
    logits: torch.Tensor = model.readout.classify(mix(features, partner, share), united(mask, partner, share))
    return logits


def mixed_embeddings(
    model: Any, batch: dict[str, torch.Tensor], partner: torch.Tensor, share: torch.Tensor
) -> torch.Tensor:
    """Return the logits (B, C) of mixed token vectors, in which padding is zero."""
    mask = batch["attention_mask"].bool()  # of the row's own tokens
    inputs = {**batch, "attention_mask": united(batch["attention_mask"], partner, share)}
    # Where only the partner has a token, its id stands: roberta counts positions by the ids that are no padding.
    for name in ("input_ids", "token_type_ids"):
        inputs[name] = torch.where(mask | (inputs["attention_mask"] == 0), batch[name], batch[name][partner])

    def change(vectors: torch.Tensor) -> torch.Tensor:
        return mix(vectors.masked_fill(~mask.unsqueeze(-1), 0.0), partner, share)

    with model.changed_embeddings(change):
        logits: torch.Tensor = model(inputs)
    return logits
