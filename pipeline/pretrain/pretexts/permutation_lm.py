"""Permutation language modelling: tell the last tokens of a row's random order, each from those before it in that order.

Source: Yang et al., XLNet, 2019, sections 2.2 and 2.3 (partial prediction), https://arxiv.org/abs/1906.08237
Differs from the paper: which tokens come last, about a share `mask_ratio` (there 1/6), is what the masking chooses, each text
stands alone, and there is no memory of the text before.
"""

import inspect
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from pipeline.errors.exceptions import ParamsError
from pipeline.pretrain.drawn import IGNORED, Draw, DrawnPretext, Measures, told
from pipeline.pretrain.language_model import notes_on
from pipeline.pretrain.masks import Masks, uniform
from pipeline.pretrain.pieces import pieces_of
from pipeline.pretrain.pretext import Masking, Start
from pipeline.reproducibility import derive_seed

LOADER = "AutoModelForCausalLM"
NEEDED = {"perm_mask", "target_mapping"}
LOSSES = {"loss": ("labels", 1.0)}


def build(*, start: Start, masking: Masking, mask_ratio: float, max_length: int) -> DrawnPretext:
    """Take the family's language model over two streams of states, as xlnet has them.

    Args:
        start: tokenizer and weights to begin with.
        masking: which tokens come last in the order together.
        mask_ratio: share of them.
        max_length: tokens per row.

    Raises:
        ParamsError: if the family has no such class.
    """
    model, new = start.load(LOADER)
    if not set(inspect.signature(model.forward).parameters) >= NEEDED:
        raise ParamsError(
            f"pretrain.pretext: the model must read its tokens in any order ({' and '.join(sorted(NEEDED))}), got "
            f"model_type {model.config.model_type!r}. Take a source of the family xlnet, or another pretext."
        )

    def rows_of(texts: Sequence[str], seed: int) -> tuple[np.ndarray, Draw]:
        pieces = pieces_of(start.tokenizer, texts, max_length=max_length, spans=masking.spans)
        masks, order = Masks(masking, mask_ratio, seed), derive_seed(seed, "order")

        def draw(rows: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
            batch, last = pieces.encoded.batch(rows), masks.chosen(pieces.units_of(rows), rows, epoch)
            ranks = uniform(order, epoch, rows[:, None], np.arange(last.shape[1]))
            return {**batch, **in_order(batch["input_ids"].numpy(), last, ranks)}

        return pieces.encoded.lengths, draw

    return DrawnPretext(TwoStreams(model), model, start.tokenizer, rows_of, LOSSES, notes_on(start, new))


def in_order(ids: np.ndarray, last: np.ndarray, ranks: np.ndarray) -> dict[str, torch.Tensor]:
    """Return how the model reads rows whose tokens `last`, bool (B, T), come after all others, ordered by `ranks` (B, T).

    `perm_mask` (B, T, T) is 1 where the first of two tokens must not read the second; all read those that are not last.
    `target_mapping` (B, M, T) says for which tokens to predict which state is, and `labels` (B, M) which tokens they are.
    """
    ranks = np.where(last, ranks, -1.0)
    hidden = last[:, None, :] & (ranks[:, None, :] >= ranks[:, :, None])  # (B, T, T)
    rows, places = np.nonzero(last)
    number = (np.cumsum(last, axis=1) - 1)[rows, places]
    mapping = np.zeros((len(ids), number.max(initial=0) + 1, ids.shape[1]), np.float32)
    labels = np.full(mapping.shape[:2], IGNORED, np.int64)
    mapping[rows, number, places], labels[rows, number] = 1, ids[rows, places]
    arrays = {"perm_mask": hidden.astype(np.float32), "target_mapping": mapping, "labels": labels}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class TwoStreams(nn.Module):
    """A model that predicts tokens from states that do not read them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, torch.Tensor]) -> Measures:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        logits = self.model(**inputs, use_mems=False).logits  # (B, M, V)
        return told(logits.flatten(0, 1), batch["labels"].flatten())
