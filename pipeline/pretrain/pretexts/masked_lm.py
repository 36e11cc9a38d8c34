"""Masked language modelling: tell which tokens stood where some are masked.

Source: Devlin et al., BERT, 2019, section 3.1, https://arxiv.org/abs/1810.04805; masks drawn anew in each epoch as in Liu et
al., RoBERTa, 2019, section 4.1, https://arxiv.org/abs/1907.11692; no prediction of next sentences, as there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.errors.exceptions import ParamsError
from pipeline.models.classifier import special_ids
from pipeline.pretrain.drawn import Draw, DrawnPretext, Predictor
from pipeline.pretrain.language_model import LanguageModel, mask_token, notes_on
from pipeline.pretrain.masks import Masks
from pipeline.pretrain.pieces import Pieces, pieces_of
from pipeline.pretrain.pretext import Masking, Start
from pipeline.ranges import Probability

if TYPE_CHECKING:
    from pipeline.training_contracts import Batch
LOADER = "AutoModelForMaskedLM"
LOSSES = {"loss": ("labels_at_places", 1.0)}


def build(
    *,
    start: Start,
    masking: Masking,
    mask_ratio: float,
    max_length: int,
    mask_token_ratio: Probability = 0.8,
    random_token_ratio: Probability = 0.1,
) -> DrawnPretext:
    """Take the family's masked language model, with the checkpoint's own head or a new one tied to the embeddings.

    Args:
        start: tokenizer and weights to begin with.
        masking: which tokens are masked together.
        mask_ratio: share of tokens to predict.
        max_length: tokens per row.
        mask_token_ratio: share of those to predict that read as the mask.
        random_token_ratio: share that reads as a random token; the rest is left as it is.

    Raises:
        ParamsError: if the family has no such class, the tokenizer no mask, or the two ratios are more than all.
    """
    if mask_token_ratio + random_token_ratio > 1:
        raise ParamsError(
            f"pretrain.pretext: mask_token_ratio and random_token_ratio must be at most 1 together, got {mask_token_ratio} "
            f"and {random_token_ratio}. Lower one."
        )
    shares = {"mask_token_ratio": mask_token_ratio, "random_token_ratio": random_token_ratio}
    masked = MaskedLM.begun(start, masking, mask_ratio, max_length, **shares)

    def rows_of(texts: Sequence[str], seed: int) -> tuple[np.ndarray, Draw]:
        rows = masked.rows(texts, seed)
        return rows.lengths, rows.draw

    language = masked.language
    return DrawnPretext(Predictor(language), language.model, start.tokenizer, rows_of, LOSSES, masked.notes)


@dataclass(frozen=True)
class Replacing:
    """What stands in the place of the tokens to predict; the fields are as in `Masks.replaced`."""

    mask_id: int
    ordinary: np.ndarray
    mask_token_ratio: float
    random_token_ratio: float


@dataclass(frozen=True)
class MaskedLM:
    """A language model and how the texts that it reads are masked: what this pretext shares with those that add to it."""

    language: LanguageModel
    start: Start
    masking: Masking
    mask_ratio: float
    max_length: int
    replacing: Replacing
    notes: list[str]

    @classmethod
    def begun(
        cls, start: Start, masking: Masking, mask_ratio: float, max_length: int, *,
        mask_token_ratio: float = 0.8, random_token_ratio: float = 0.1,
    ) -> "MaskedLM":  # fmt: skip
        """Load it; arguments and errors are those of `build`."""
        model, new = start.load(LOADER)
        special = {*special_ids(start.tokenizer), *start.tokenizer.all_special_ids}
        known = [number for number in sorted(start.tokenizer.get_vocab().values()) if number not in special]
        rule = Replacing(mask_token(start), np.array(known), mask_token_ratio, random_token_ratio)
        return cls(LanguageModel(model), start, masking, mask_ratio, max_length, rule, notes_on(start, new))

    def rows(self, texts: Sequence[str], seed: int, *, text_pairs: Sequence[str] | None = None) -> "MaskedRows":
        """Return the rows of texts, or of pairs of them, whose masks are a function of the seed."""
        spans = self.masking.spans
        pieces = pieces_of(self.start.tokenizer, texts, text_pairs, max_length=self.max_length, spans=spans)
        return MaskedRows(pieces, Masks(self.masking, self.mask_ratio, seed), self.replacing)


@dataclass(frozen=True)
class MaskedRows:
    """Rows of texts, each with its own masks in each epoch."""

    pieces: Pieces
    masks: Masks
    replacing: Replacing

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of each row (N,)."""
        return self.pieces.encoded.lengths

    def draw(self, rows: np.ndarray, epoch: int) -> "Batch":
        """Return the inputs (B, T), the `places` (M,) to predict and the `labels_at_places` (M,)."""
        batch = self.pieces.encoded.batch(rows)
        ids, chosen = batch["input_ids"].numpy(), self.masks.chosen(self.pieces.units_of(rows), rows, epoch)
        shown = self.masks.replaced(ids, chosen, rows, epoch, **vars(self.replacing))
        places = np.flatnonzero(chosen)
        at_places = {"places": torch.from_numpy(places), "labels_at_places": torch.from_numpy(ids.reshape(-1)[places])}
        return {**batch, **at_places, "input_ids": torch.from_numpy(shown)}
