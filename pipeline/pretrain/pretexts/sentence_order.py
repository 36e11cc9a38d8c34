"""Masked language modelling, and whether the two segments of a text stand in their order or were swapped.

Source: Lan et al., ALBERT, 2020, section 3.1, https://arxiv.org/abs/1909.11942
Differs from the paper: a text is cut where `segments.two_segments` says, the same way in every epoch. One sentence is cut
between two words, one word within: of such short texts the order says little.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from pipeline.pretrain.drawn import Draw, DrawnPretext, Measures, told
from pipeline.pretrain.language_model import LanguageModel
from pipeline.pretrain.masks import uniform
from pipeline.pretrain.pretext import Masking, Start
from pipeline.pretrain.pretexts.masked_lm import MaskedLM
from pipeline.pretrain.segments import two_segments
from pipeline.reproducibility import derive_seed

LOSSES = {"loss": ("labels_at_places", 1.0), "order_loss": ("is_swapped", 1.0)}


def build(*, start: Start, masking: Masking, mask_ratio: float, max_length: int, seed: int) -> DrawnPretext:
    """Put a head over the first token of the family's masked language model, which is left when it is saved.

    Args:
        start: tokenizer and weights to begin with.
        masking: which tokens are masked together.
        mask_ratio: share of tokens to predict.
        max_length: tokens per row.
        seed: of the head.

    Raises:
        ParamsError: if the source cannot learn by masks.
    """
    masked = MaskedLM.begun(start, masking, mask_ratio, max_length)

    def rows_of(texts: Sequence[str], seed: int) -> tuple[np.ndarray, Draw]:
        first, second = map(list, zip(*map(two_segments, texts), strict=True))
        # Row n and, N rows further on, the same in the other order.
        rows = masked.rows(first + second, seed, text_pairs=second + first)
        lengths = rows.lengths.reshape(2, -1).max(axis=0)

        def draw(numbers: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
            is_swapped = uniform(derive_seed(seed, "order"), epoch, numbers) < 0.5
            batch = rows.draw(numbers + len(texts) * is_swapped, epoch)
            return {**batch, "is_swapped": torch.from_numpy(is_swapped.astype(np.int64))}

        return lengths, draw

    language = masked.language
    model = OrderPredictor(language, derive_seed(seed, "head"))
    return DrawnPretext(model, language.model, start.tokenizer, rows_of, LOSSES, masked.notes)


class OrderPredictor(nn.Module):
    """A masked language model, and a head over its first token that tells whether two segments are swapped."""

    def __init__(self, language: LanguageModel, seed: int) -> None:
        super().__init__()
        self.language = language
        width = language.model.config.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))

    def forward(self, batch: dict[str, torch.Tensor]) -> Measures:
        states, logits = self.language.states_and_logits(batch)
        order = told(self.head(states[:, 0]), batch["is_swapped"])
        return {**told(logits, batch["labels_at_places"]), **{f"order_{name}": of for name, of in order.items()}}
