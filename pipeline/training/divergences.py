"""How far two predictions of the same rows are from one another."""

import torch


def symmetric_kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return KL(first || second) + KL(second || first), float32 (B,), in nats, for logits (B, C); both get gradients.

    >>> symmetric_kl(torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.5, 0.5]]).log())  # 0.3 * log(4)
    tensor([0.4159])
    """
    logs = first.float().log_softmax(dim=-1), second.float().log_softmax(dim=-1)
    return ((logs[0].exp() - logs[1].exp()) * (logs[0] - logs[1])).sum(dim=-1)
