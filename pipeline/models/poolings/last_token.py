"""The state of the last token that is no padding: the only one that has read all of the text in a model that reads onwards.

Source: Radford et al., Improving Language Understanding by Generative Pre-Training, 2018, section 3.2 (GPT)
"""

import torch
from torch import nn


class LastTokenPooling(nn.Module):
    """Takes the last token of the last layer, of a row of padding only the first one."""

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
        last = (places * (attention_mask != 0)).argmax(dim=1)  # (B,)
        return hidden_states[-1][torch.arange(len(last), device=last.device), last]  # (B, H)


def build() -> nn.Module:
    """Return the pooling module (hidden_states, attention_mask) -> (B, H)."""
    return LastTokenPooling()
