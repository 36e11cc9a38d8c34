"""Supervised contrastive learning: beside the loss, rows of one label are pulled together and others pushed apart.

Source: Gunel et al., Supervised Contrastive Learning for Pre-trained Language Model Fine-tuning, 2021, eq. 1 to 3,
https://arxiv.org/abs/2011.01403
Differs from the paper: what is compared is what the head reads, the mean over tokens where it reads these. Partners are of
the same micro-batch, so `tokens_per_micro_batch` has a say; a row without one adds nothing.
"""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch.nn import functional

FORMS = ("class", "rank")


def build(
    *,
    loss: Callable[..., torch.Tensor],
    weight: Annotated[float, Field(ge=0, le=1)] = 0.9,
    temperature: Annotated[float, Field(gt=0)] = 0.3,
) -> Callable[[Any, dict[str, torch.Tensor], float], torch.Tensor]:
    """Return the objective (model, batch, progress) -> summed loss.

    Args:
        loss: of logits and labels.
        weight: of the contrast; what it lacks to 1 is the weight of the loss.
        temperature: the lower, the more the nearest rows count.
    """

    def loss_sum(model: Any, batch: dict[str, torch.Tensor], progress: float) -> torch.Tensor:
        mask, labels = batch["attention_mask"], batch["labels"]
        features = model.readout.features(model.hidden_states(batch), mask)  # (B, H) or (B, T, H)
        losses = loss(model.readout.classify(features, mask), labels)
        if features.dim() == 3:
            held = model.readout.feature_mask(mask)  # tokens, or windows of them
            shares = held / held.sum(dim=1, keepdim=True).clamp(min=1)  # (B, T)
            features = (features * shares.unsqueeze(-1)).sum(dim=1)  # (B, H)
        return ((1 - weight) * losses + weight * contrasts(features, labels, temperature=temperature)).sum()

    return loss_sum


def contrasts(features: torch.Tensor, labels: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Return for features (B, H) and labels (B,) how little each row is nearer to its like than to all others, (B,).

    >>> contrasts(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]), temperature=1.0)[2].item()
    0.0
    """
    precise = features.to(torch.promote_types(features.dtype, torch.float32))
    directions = functional.normalize(precise, dim=-1)
    with torch.autocast(features.device.type, enabled=False):
        likeness = directions @ directions.T / temperature  # (B, B)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    likeness = likeness.masked_fill(itself, torch.finfo(likeness.dtype).min)
    like = (labels.unsqueeze(0) == labels.unsqueeze(1)) & ~itself
    surprise = -likeness.log_softmax(dim=-1).masked_fill(~like, 0.0)
    return surprise.sum(dim=-1) / like.sum(dim=-1).clamp(min=1)
