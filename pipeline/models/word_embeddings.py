"""The model over a vocabulary of words: a table of vectors, of parts of speech beside it, and the layers that read them."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from pipeline.models.token_states import read_both_ways
from pipeline.text.vector_files import Vectors
from pipeline.text.words import SPECIAL

INITIAL_STD = 0.1


class WordVectorsConfig(PreTrainedConfig):
    """Shapes of the model; the first `n_tuned` of the vocabulary's vectors are trained, `n_tags` are parts of speech."""

    model_type = "word_embeddings"
    vocab_size: int = 3
    pad_token_id: int | None = 0
    n_tuned: int = 3
    vector_size: int = 100
    hidden_size: int = 256
    num_hidden_layers: int = 1
    layer: str = "bilstm"
    dropout: float = 0.2
    n_tags: int = 0
    pos_size: int = 0


class WordEmbeddings(nn.Module):
    """A table of vectors of which only the first rows are trained: a step costs no more with a large file.

    With `n_tags` an id is that of a word and of its part of speech, whose vector stands beside the word's (`WordTokenizer`).
    """

    def __init__(self, n_tuned: int, n_fixed: int, vector_size: int, n_tags: int = 0, pos_size: int = 0) -> None:
        super().__init__()
        self.n_words = n_tuned + n_fixed
        self.tags = nn.Embedding(1 + n_tags, pos_size) if n_tags else None
        self.tuned = nn.Parameter(torch.zeros(n_tuned, vector_size), requires_grad=n_tuned > 0)
        self.fixed: torch.Tensor
        self.register_buffer("fixed", torch.zeros(n_fixed, vector_size))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        if self.tags is None:
            return self._vectors(input_ids)  # (B, T, V)
        tags = self.tags(input_ids.div(self.n_words, rounding_mode="floor"))
        return torch.cat([self._vectors(input_ids % self.n_words), tags], dim=-1)  # (B, T, V + P)

    def _vectors(self, input_ids: torch.Tensor) -> torch.Tensor:
        n_tuned = len(self.tuned)
        if len(self.fixed) == 0:
            return functional.embedding(input_ids, self.tuned)
        fixed = functional.embedding((input_ids - n_tuned).clamp(min=0), self.fixed)
        if n_tuned == 0:
            return fixed
        tuned = functional.embedding(input_ids.clamp(max=n_tuned - 1), self.tuned)
        return torch.where((input_ids < n_tuned).unsqueeze(-1), tuned, fixed)  # (B, T, V)


class LstmLayer(nn.Module):
    """Reads the tokens in both directions, padding left out."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(hidden_size, hidden_size // 2, batch_first=True, bidirectional=True)

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return read_both_ways(self.lstm, states, attention_mask)  # (B, T, H)


class CnnLayer(nn.Module):
    """Adds to each token what a window of three sees; padding is read as zero."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(hidden_size, hidden_size, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        seen = (states * attention_mask.unsqueeze(-1)).transpose(1, 2)  # (B, H, T)
        return self.norm(states + functional.gelu(self.convolve(seen)).transpose(1, 2))  # (B, T, H)


class WordVectorsModel(PreTrainedModel):
    """Embeddings, made as wide as the layers, and the layers."""

    config_class = WordVectorsConfig

    def __init__(self, config: WordVectorsConfig) -> None:
        super().__init__(config)
        sizes = config.vector_size, config.n_tags, config.pos_size
        self.embeddings = WordEmbeddings(config.n_tuned, config.vocab_size - config.n_tuned, *sizes)
        read, width = config.vector_size + config.pos_size, config.hidden_size
        self.embed_projection = nn.Identity() if read == width else nn.Linear(read, width)
        layer = {"bilstm": LstmLayer, "cnn": CnnLayer}.get(config.layer)
        self.layers = nn.ModuleList(
            [layer(config.hidden_size) for _ in range(config.num_hidden_layers)] if layer else []
        )
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's own initial weights."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, output_hidden_states: bool = False
    ) -> BaseModelOutput:
        states = self.dropout(self.embed_projection(self.embeddings(input_ids)))  # (B, T, H)
        hidden_states = [states]
        for layer in self.layers:
            states = self.dropout(layer(states, attention_mask))  # (B, T, H)
            hidden_states.append(states)
        every = tuple(hidden_states) if output_hidden_states else None
        return BaseModelOutput(last_hidden_state=states, hidden_states=cast(Any, every))


def new_model(vocabulary: Sequence[str], vectors: Vectors, *, seed: int, **config: Any) -> WordVectorsModel:
    """Return a model with the words' vectors and new layers, a function of the seed.

    The vocabulary, in which the special tokens do not stand, may hold words without a vector. Those, and the special
    tokens but padding, start small at random. `config` holds further keys of `WordVectorsConfig`.
    """
    torch.manual_seed(seed)
    n_tokens, size = len(SPECIAL) + len(vocabulary), len(next(iter(vectors.values())))
    model = WordVectorsModel(WordVectorsConfig(vocab_size=n_tokens, vector_size=size, **config))
    table = INITIAL_STD * torch.randn(n_tokens, size, generator=torch.Generator().manual_seed(seed))
    table[0] = 0.0
    for row, word in enumerate(vocabulary, len(SPECIAL)):
        if word in vectors:
            table[row] = torch.from_numpy(vectors[word])
    n_tuned = len(model.embeddings.tuned)
    with torch.no_grad():
        model.embeddings.tuned.copy_(table[:n_tuned])
        model.embeddings.fixed.copy_(table[n_tuned:])
    return model
