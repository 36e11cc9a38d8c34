"""Masked language modelling in which a token does not read all others, as a decoder or the two halves of a translator do.

Source: Dong et al., Unified Language Model Pre-training, 2019, section 2.3, https://arxiv.org/abs/1905.03197
Differs from the paper: each row is of two segments that follow one another (`segments.two_segments`), whatever it may read,
and nothing is learnt of whether they do.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from pipeline.errors.exceptions import ParamsError
from pipeline.models.batching import padded_positions
from pipeline.pretrain.drawn import Draw, DrawnPretext, Predictor, reads_ahead
from pipeline.pretrain.masks import uniform
from pipeline.pretrain.pretext import Masking, Start
from pipeline.pretrain.pretexts.masked_lm import LOSSES, MaskedLM
from pipeline.pretrain.segments import two_segments
from pipeline.reproducibility import derive_seed

WAYS = ("bidirectional", "left_to_right", "right_to_left", "seq2seq")
SHARES = (1 / 3, 1 / 6, 1 / 6, 1 / 3)  # of the ways, where they are mixed
NOT_READ = torch.finfo(torch.float32).min


def build(
    *,
    start: Start,
    masking: Masking,
    mask_ratio: float,
    max_length: int,
    attention: Literal["mixed", "bidirectional", "left_to_right", "right_to_left", "seq2seq"] = "mixed",
) -> DrawnPretext:
    """Take the family's masked language model and say of each pair of tokens whether one reads the other.

    Args:
        start: tokenizer and weights to begin with.
        masking: which tokens are masked together.
        mask_ratio: share of tokens to predict.
        max_length: tokens per row.
        attention: `seq2seq` lets tokens of the first segment read that segment, those of the second the first and what
            stands before them; `mixed` draws a way for each row, two thirds of them bidirectional and seq2seq.

    Raises:
        ParamsError: if the source cannot learn by masks, or the family takes no such attention.
    """
    masked = MaskedLM.begun(start, masking, mask_ratio, max_length)
    language = masked.language
    _check_family(language.model)

    def rows_of(texts: Sequence[str], seed: int) -> tuple[np.ndarray, Draw]:
        first, second = map(list, zip(*map(two_segments, texts), strict=True))
        rows = masked.rows(first, seed, text_pairs=second)
        encoded = rows.pieces.encoded
        # On a row's axis one place stands before the first segment and one after it.
        begins = np.array([2 + len(text) for text in first])

        def draw(numbers: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
            real, positions = padded_positions(encoded.starts, numbers)
            is_second = encoded.spans[positions, 0] >= begins[numbers, None]  # type: ignore[index]
            drawn = uniform(derive_seed(seed, "attention"), epoch, numbers)
            mixed = np.searchsorted(np.cumsum(SHARES[:-1]), drawn, side="right")
            ways = mixed if attention == "mixed" else np.full(len(numbers), WAYS.index(attention))
            return {**rows.draw(numbers, epoch), "attention_mask": additive(reads(real, is_second, ways))}

        return rows.lengths, draw

    return DrawnPretext(Predictor(language), language.model, start.tokenizer, rows_of, LOSSES, masked.notes)


def reads(real: np.ndarray, is_second: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """Return which token reads which, bool (B, T, T), given which are no padding and of the second segment (B, T).

    `ways` (B,) are numbers of `WAYS`. Padding reads all tokens, as it must read some, and is read by none.

    >>> reads(np.ones((1, 4), bool), np.array([[False, False, True, True]]), np.array([3])).astype(int)[0].tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    """
    before = np.tri(real.shape[1], dtype=bool)  # (T, T)
    to_second = ~is_second[:, None, :] | (is_second[:, :, None] & before)  # (B, T, T)
    way = ways[:, None, None]
    read = np.select([way == 0, way == 1, way == 2], [np.ones_like(before), before, before.T], to_second)
    return (read | ~real[:, :, None]) & real[:, None, :]


def additive(read: np.ndarray) -> torch.Tensor:
    """Return which token reads which (B, T, T) as families add it to their scores, float32 (B, 1, T, T)."""
    return torch.from_numpy(np.where(read, np.float32(0), np.float32(NOT_READ)))[:, None]


def _check_family(model: Any) -> None:
    """Check that a family reads what it is told to: some fail on such a mask, some take it for another one.

    Raises:
        ParamsError: if it does not.
    """
    masks = [additive(np.broadcast_to(read, (2, 4, 4))) for read in (np.ones((4, 4), bool), np.tri(4, dtype=bool))]
    try:
        obeys = reads_ahead(model, masks[0]) and not reads_ahead(model, masks[1])
    except (ValueError, RuntimeError, TypeError, IndexError):
        obeys = False
    if not obeys or model.config.is_encoder_decoder:
        raise ParamsError(
            "pretrain.pretext: the family must let one say which token reads which (a mask of four dimensions), got "
            f"model_type {model.config.model_type!r}. Take another source, such as bert or roberta, or another pretext."
        )
