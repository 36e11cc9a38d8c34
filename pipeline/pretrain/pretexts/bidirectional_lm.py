"""Language models in both directions: each tells the token that it reads next, one from the left, one from the right.

Source: Peters et al., Deep contextualized word representations (ELMo), 2018, section 3.1, https://arxiv.org/abs/1802.05365
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from pipeline.models.batching import encode
from pipeline.models.language_lstm import DIRECTIONS, BidirectionalLM, checked
from pipeline.pretrain.drawn import Draw, DrawnPretext, Measures, told
from pipeline.pretrain.language_model import notes_on
from pipeline.pretrain.pretext import Start

LOADER = "AutoModel"
LANGUAGE_MODELS = "in two directions"  # of which sources
LOSSES = {direction: (f"labels_{direction}", 1.0) for direction in DIRECTIONS}


def build(*, start: Start, max_length: int, tied: bool = True) -> DrawnPretext:
    """Put a new softmax, the same for both directions, on the model; masks have no part in it, and it is left when saved.

    Args:
        start: tokenizer and weights to begin with.
        max_length: tokens per row.
        tied: whether the softmax has the token vectors for its weights.

    Raises:
        ParamsError: if the source is another model than one of two directions that do not see one another.
    """
    model, new = start.load(LOADER)
    encoder = checked(model, origin=start.origin)

    def rows_of(texts: Sequence[str], seed: int) -> tuple[np.ndarray, Draw]:
        encoded = encode(start.tokenizer, texts, None, max_length=max_length, truncation="head")

        def draw(rows: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
            batch = encoded.batch(rows)
            labels = BidirectionalLM.targets(batch)
            return {**batch, **{LOSSES[direction][0]: tokens for direction, tokens in labels.items()}}

        return encoded.lengths, draw

    learner = BothDirections(BidirectionalLM(encoder, tied=tied))
    return DrawnPretext(learner, encoder, start.tokenizer, rows_of, LOSSES, notes_on(start, new))


class BothDirections(nn.Module):
    """Measures how well each direction tells the tokens that it reads next, and both together."""

    def __init__(self, model: BidirectionalLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, torch.Tensor]) -> Measures:
        by_direction = {name: told(logits, batch[LOSSES[name][0]]) for name, logits in self.model(batch).items()}
        measures: Measures = {name: of["loss"] for name, of in by_direction.items()}
        for name in ("loss", "accuracy"):
            totals, counts = zip(*(of[name] for of in by_direction.values()), strict=True)
            measures[name] = torch.stack(totals).sum(), torch.stack(counts).sum()
        return measures
