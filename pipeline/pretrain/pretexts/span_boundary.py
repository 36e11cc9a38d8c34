"""Masked spans, whose tokens are also told from the states at the span's two borders alone.

Source: Joshi et al., SpanBERT, 2020, section 3.2, https://arxiv.org/abs/1907.10529
Differs from the paper: spans that touch count as one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import linear

from pipeline.errors.exceptions import ParamsError
from pipeline.pretrain.drawn import Draw, DrawnPretext, Measures, told
from pipeline.pretrain.language_model import LanguageModel
from pipeline.pretrain.pretext import Masking, Start
from pipeline.pretrain.pretexts.masked_lm import MaskedLM
from pipeline.ranges import PositiveInt
from pipeline.reproducibility import derive_seed

LOSSES = {"loss": ("labels_at_places", 1.0), "boundary_loss": ("labels_at_places", 1.0)}


def build(
    *,
    start: Start,
    masking: Masking,
    mask_ratio: float,
    max_length: int,
    seed: int,
    position_size: PositiveInt = 200,
) -> DrawnPretext:
    """Put a second head on the family's masked language model, which is left when it is saved.

    Args:
        start: tokenizer and weights to begin with.
        masking: one that masks runs of several units.
        mask_ratio: share of tokens to predict.
        max_length: tokens per row.
        seed: of the second head.
        position_size: width of the embedding of a token's place in its span.

    Raises:
        ParamsError: if units are masked one by one, or the source cannot learn by masks.
    """
    if len(masking.survival) < 2:
        raise ParamsError(
            "pretrain.masking: must mask spans of several units to predict them from their borders, got one that masks "
            "units one by one. Take a masking of spans, or another pretext."
        )
    masked = MaskedLM.begun(start, masking, mask_ratio, max_length)

    def rows_of(texts: Sequence[str], seed: int) -> tuple[np.ndarray, Draw]:
        rows = masked.rows(texts, seed)

        def draw(numbers: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
            batch = rows.draw(numbers, epoch)
            return {**batch, **borders(batch["places"].numpy(), batch["input_ids"].shape[1])}

        return rows.lengths, draw

    language = masked.language
    model = BoundaryPredictor(language, max_length, position_size, derive_seed(seed, "head"))
    return DrawnPretext(model, language.model, start.tokenizer, rows_of, LOSSES, masked.notes)


def borders(places: np.ndarray, n_tokens: int) -> dict[str, torch.Tensor]:
    """Return the places `left` and `right` of the tokens beside the span of each of `places` (M,), and its `offset` in it.

    Places are numbers in the flattened batch, of `n_tokens` per row; at an end of a row the span's own last token stands in.

    >>> {name: tensor.tolist() for name, tensor in borders(np.array([2, 3, 4, 7, 10]), 10).items()}
    {'left': [1, 1, 1, 6, 10], 'right': [5, 5, 5, 8, 11], 'offset': [0, 1, 2, 0, 0]}
    """
    rows = places // n_tokens
    begins = np.concatenate([[True], (np.diff(places) != 1) | (np.diff(rows) != 0)])[: len(places)]
    span = np.cumsum(begins) - 1
    first, last = places[begins][span], places[np.roll(begins, -1)][span]
    left, right = np.maximum(first - 1, rows * n_tokens), np.minimum(last + 1, (rows + 1) * n_tokens - 1)
    arrays = {"left": left, "right": right, "offset": places - first}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class BoundaryPredictor(nn.Module):
    """A masked language model with a head over a span's borders, whose output is compared with the token embeddings."""

    def __init__(self, language: LanguageModel, n_positions: int, position_size: int, seed: int) -> None:
        super().__init__()
        self.language = language
        model: Any = language.model
        width, size = model.config.hidden_size, model.get_input_embeddings().embedding_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.positions = nn.Embedding(n_positions, position_size)
            first, second = nn.Linear(2 * width + position_size, width), nn.Linear(width, size)
        self.head = nn.Sequential(first, nn.GELU(), nn.LayerNorm(width), second, nn.GELU(), nn.LayerNorm(size))

    def forward(self, batch: dict[str, torch.Tensor]) -> Measures:
        states, logits = self.language.states_and_logits(batch)
        states, labels = states.flatten(0, 1), batch["labels_at_places"]  # (B * T, H)
        beside = [states[batch["left"]], states[batch["right"]], self.positions(batch["offset"])]
        vectors = self.head(torch.cat(beside, dim=1))  # (M, E)
        model: Any = self.language.model
        by_borders = told(linear(vectors, model.get_input_embeddings().weight), labels)
        return {**told(logits, labels), **{f"boundary_{name}": measure for name, measure in by_borders.items()}}
