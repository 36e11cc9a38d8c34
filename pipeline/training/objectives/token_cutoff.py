"""Cutoff: rows whose token vectors are partly erased must keep their label, and the prediction of the whole row.

Source: Shen et al., A Simple but Tough-to-Beat Data Augmentation Approach for Natural Language Understanding and Generation,
2020, https://arxiv.org/abs/2009.13818 (the loss: cross-entropy of the row and of its views, Jensen-Shannon divergence of all)
Differs from the paper's code: it draws from all tokens of a row, here special tokens stay; it also masks an erased token's
attention and position, here only the vector is zero, since recurrent layers and heads want padding on the right only; its
divergence is KL(mean || view), here KL(view || mean); of several views the cross-entropies are averaged.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from pipeline.ranges import NotNegativeFloat, PositiveInt, Ratio

FORMS = ("class",)


def build(
    *,
    loss: Callable[..., torch.Tensor],
    mode: Literal["token", "span", "feature"] = "token",
    ratio: Ratio = 0.1,
    n_views: PositiveInt = 1,
    alpha: NotNegativeFloat = 1.0,
    beta: NotNegativeFloat = 1.0,
) -> Callable[[Any, dict[str, torch.Tensor], float], torch.Tensor]:
    """Return the objective (model, batch, progress) -> summed loss. A step costs as much as 1 + `n_views` plain ones.

    Args:
        loss: of logits and labels.
        mode: what is erased: tokens, a run of tokens, or numbers of the vectors, the same ones in all tokens of a row.
        ratio: the share of a row's words, or of the numbers, that is erased: rounded up, but one word stays.
        n_views: how often each row is cut in a step.
        alpha: weight of the views' loss.
        beta: weight of the divergence.
    """

    def loss_sum(model: Any, batch: dict[str, torch.Tensor], progress: float) -> torch.Tensor:
        labels = batch["labels"]
        words = (batch["attention_mask"] == 1) & ~batch["special_tokens_mask"]  # (B, T)
        whole = model(batch)
        with model.changed_embeddings(lambda vectors: cut(vectors, words, mode=mode, ratio=ratio)):
            views = [model(batch) for _ in range(n_views)]
        of_views = torch.stack([loss(logits, labels) for logits in views]).mean(dim=0)  # (B,)
        return (loss(whole, labels) + alpha * of_views + beta * divergence([whole, *views])).sum()

    return loss_sum


def cut(vectors: torch.Tensor, words: torch.Tensor, *, mode: str, ratio: float) -> torch.Tensor:
    """Return token vectors (B, T, E) of which a part is zero; `words` (B, T) says which tokens may be erased."""
    if mode == "feature":
        erased = draw(torch.ones_like(vectors[:, 0], dtype=torch.bool), ratio=ratio).unsqueeze(1)  # (B, 1, E)
    else:
        erased = draw(words, ratio=ratio, together=mode == "span").unsqueeze(-1)  # (B, T, 1)
    return vectors.masked_fill(erased, 0.0)


def draw(positions: torch.Tensor, *, ratio: float, together: bool = False) -> torch.Tensor:
    """Return which of the positions (B, P) of each row are drawn: a share rounded up, but not all; `together` in one run.

    >>> draw(torch.tensor([[True] * 5 + [False], [True] + [False] * 5]), ratio=0.3).sum(dim=1).tolist()
    [2, 0]
    """
    n_positions = positions.sum(dim=1, keepdim=True)  # (B, 1)
    n_drawn = (ratio * n_positions.double() - 1e-9).ceil().clamp(min=0).minimum((n_positions - 1).clamp(min=0))
    if together:
        chance = torch.rand(len(positions), 1, dtype=torch.float64, device=positions.device)
        start = (chance * (n_positions - n_drawn + 1)).floor()
        number = positions.cumsum(dim=1) - 1  # of each position in its row
        return positions & (number >= start) & (number < start + n_drawn)
    # The chances' ranks, not a threshold: the number drawn is exact. What may not be drawn ranks last.
    chances = torch.rand(positions.shape, device=positions.device).masked_fill(~positions, 2.0)
    return positions & (chances.argsort(dim=1).argsort(dim=1) < n_drawn)


def divergence(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the Jensen-Shannon divergence (B,), float32, in nats, of V logits (B, C): from 0 to log(V).

    >>> certain = torch.tensor([[1000.0, 0.0]])
    >>> divergence([certain, certain]).item(), round(divergence([certain, -certain]).item(), 4)
    (0.0, 0.6931)
    """
    views = torch.stack([view.float().log_softmax(dim=-1) for view in logits])  # (V, B, C)
    # A label that all views rule out has the mean 0, and 0 times its logarithm would be NaN.
    mean = views.exp().mean(dim=0).clamp(min=torch.finfo(torch.float32).tiny).log()  # (B, C)
    return (views.exp() * (views - mean)).sum(dim=-1).mean(dim=0)
