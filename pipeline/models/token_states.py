"""What poolings, heads and encoders share: token states read in both directions, or reduced to one vector."""

import torch
from torch import nn


def masked_mean(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return the mean (B, H) over the tokens of (B, T, H) whose mask is 1; zeros for a row of padding only.

    >>> masked_mean(torch.tensor([[[2.0], [4.0], [9.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[3.]])
    """
    mask = attention_mask.unsqueeze(-1).to(states.dtype)  # (B, T, 1)
    return (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)  # (B, H)


class MeanPooling(nn.Module):
    """Averages the last layer over the tokens."""

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        return masked_mean(hidden_states[-1], attention_mask)  # (B, H)


class MaxPooling(nn.Module):
    """Takes the maximum over the tokens; zeros for a row of padding only."""

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        padding = attention_mask.unsqueeze(-1) == 0  # (B, T, 1)
        largest = hidden_states[-1].masked_fill(padding, float("-inf")).amax(dim=1)  # (B, H)
        return largest.masked_fill(padding.all(dim=1), 0.0)  # (B, H)


class AttentionPooling(nn.Module):
    """Scores each token by a small network and averages with the softmax of the scores."""

    def __init__(self, hidden_size: int, attention_size: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden_size, attention_size)
        self.context = nn.Linear(attention_size, 1, bias=False)

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        states = hidden_states[-1]
        scores = self.context(torch.tanh(self.project(states))).squeeze(-1)  # (B, T)
        # The lowest finite number, not -inf: a row of padding only gets equal weights instead of NaN.
        scores = scores.masked_fill(attention_mask == 0, torch.finfo(scores.dtype).min)
        return (scores.softmax(dim=1).unsqueeze(-1) * states).sum(dim=1)  # (B, H)


def read_both_ways(layer: nn.RNNBase, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return the outputs (B, T, 2F) of a bidirectional layer over (B, T, H), padding on the right left out.

    Masked positions get zeros; of a row of padding only the first position gets what stands there.
    """
    lengths = attention_mask.sum(dim=1).clamp(min=1).cpu()  # packing needs at least 1
    packed = nn.utils.rnn.pack_padded_sequence(states, lengths, batch_first=True, enforce_sorted=False)
    return nn.utils.rnn.pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=states.shape[1])[0]
