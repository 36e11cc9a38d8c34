"""A language model in each direction: two stacks of LSTMs over one table of token vectors, their states side by side.

Source: Peters et al., Deep contextualized word representations (ELMo), 2018, section 3.1, https://arxiv.org/abs/1802.05365
Differs from the paper: sub-words in place of convolutions over characters; the softmax may have the token vectors for its
weights (Inan et al., 2017, https://arxiv.org/abs/1611.01462).
"""

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from pipeline.errors.exceptions import ParamsError

DIRECTIONS = ("forwards", "backwards")


class BidirectionalLstmConfig(PreTrainedConfig):
    """Shapes of the model; `hidden_size` is that of both directions together."""

    model_type = "bidirectional_lstm"
    vocab_size: int = 8000
    pad_token_id: int | None = 0
    hidden_size: int = 256
    num_hidden_layers: int = 2
    cell_size: int = 128
    dropout: float = 0.1


class TwoLstms(nn.Module):
    """One layer of both directions, neither of which sees the other."""

    def __init__(self, width: int, cell_size: int) -> None:
        super().__init__()
        projected = width if cell_size != width else 0
        self.forwards, self.backwards = (
            nn.LSTM(width, cell_size, batch_first=True, proj_size=projected) for _ in DIRECTIONS
        )

    def forward(self, states: torch.Tensor, reverse: torch.Tensor) -> torch.Tensor:
        ahead, back = states.chunk(2, dim=-1)  # (B, T, H / 2)
        reverse = reverse.unsqueeze(-1).expand_as(back)
        ahead, back = self.forwards(ahead)[0], self.backwards(back.gather(1, reverse))[0].gather(1, reverse)
        return torch.cat([ahead, back], dim=-1)  # (B, T, H)


class BidirectionalLstm(PreTrainedModel):
    """Token vectors, doubled, and layers over them: state t has read the tokens up to t, in its other half those from t on.

    Padding must be on the right; what stands there is zero. Layers from the second on add to what they read.
    """

    config_class = BidirectionalLstmConfig
    config: BidirectionalLstmConfig

    def __init__(self, config: BidirectionalLstmConfig) -> None:
        super().__init__(config)
        width = config.hidden_size // 2
        self.embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.layers = nn.ModuleList(TwoLstms(width, config.cell_size) for _ in range(config.num_hidden_layers))
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's own initial weights, but vectors that a softmax can read too."""
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
            nn.init.zeros_(module.weight[module.padding_idx])

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of token vectors."""
        return self.embeddings

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, output_hidden_states: bool = False
    ) -> BaseModelOutput:
        real = attention_mask.unsqueeze(-1)
        reverse = reversing(attention_mask)
        vectors = self.embeddings(input_ids)  # (B, T, H / 2)
        states = self.dropout(torch.cat([vectors, vectors], dim=-1) * real)  # (B, T, H)
        hidden_states = [states]
        for number, layer in enumerate(self.layers):
            read = layer(states, reverse) * real  # (B, T, H)
            states = self.dropout(states + read if number else read)
            hidden_states.append(states)
        every = tuple(hidden_states) if output_hidden_states else None
        return BaseModelOutput(last_hidden_state=states, hidden_states=cast(Any, every))


def register() -> None:
    """Let transformers' `Auto...` classes know the model in this process."""
    AutoConfig.register(BidirectionalLstmConfig.model_type, BidirectionalLstmConfig, exist_ok=True)
    AutoModel.register(BidirectionalLstmConfig, BidirectionalLstm, exist_ok=True)


def checked(model: nn.Module, *, origin: str) -> BidirectionalLstm:
    """Return a model that was loaded from somewhere, which must be of this form.

    Raises:
        ParamsError: if it is another one.
    """
    if not isinstance(model, BidirectionalLstm):
        raise ParamsError(
            f"source: {origin} must be a model of two directions ({BidirectionalLstmConfig.model_type}), got a "
            f"{type(model).__name__}. Take a folder that such a pre-training wrote, or another source.",
            code="E204",
        )
    return model


def reversing(attention_mask: torch.Tensor) -> torch.Tensor:
    """Return (B, T) where to find each token when every row's real ones are read from the last; padding stays on the right.

    >>> reversing(torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])).tolist()
    [[2, 1, 0, 3], [3, 2, 1, 0]]
    """
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device).expand_as(attention_mask)
    return torch.where(attention_mask > 0, attention_mask.sum(dim=1, keepdim=True) - 1 - places, places)


class BidirectionalLM(nn.Module):
    """The model with a softmax, the same for both directions: each tells the token that it reads next.

    `tied`: its weights are the token vectors.
    """

    def __init__(self, encoder: BidirectionalLstm, *, tied: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.bias = nn.Parameter(torch.zeros(encoder.config.vocab_size))
        self.weight = None if tied else nn.Parameter(encoder.embeddings.weight.detach().clone())

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return by direction the logits (M, V) of the M tokens that have one before them; of `targets`."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        ahead, back = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.chunk(2, dim=-1)
        weight, known = self.encoder.embeddings.weight if self.weight is None else self.weight, mask[:, 1:].bool()
        read = dict(zip(DIRECTIONS, (ahead[:, :-1][known], back[:, 1:][known]), strict=True))  # (M, H / 2)
        return {direction: functional.linear(states, weight, self.bias) for direction, states in read.items()}

    @staticmethod
    def targets(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return by direction the M tokens to tell: those after the first, and those before the last, of each row."""
        ids, known = batch["input_ids"], batch["attention_mask"][:, 1:].bool()
        return dict(zip(DIRECTIONS, (ids[:, 1:][known], ids[:, :-1][known]), strict=True))
