"""Masked language modelling: tell which tokens stood where some are masked.

Source: Devlin et al., BERT, 2019, section 3.1, https://arxiv.org/abs/1810.04805; masks drawn anew in each epoch as in Liu et
al., RoBERTa, 2019, section 4.1, https://arxiv.org/abs/1907.11692; no prediction of next sentences, as there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pipeline.errors.exceptions import ParamsError
from pipeline.models.classifier import special_ids
from pipeline.pretrain.language_model import LanguageModel, mask_token, notes_on, save_model
from pipeline.pretrain.masks import Masks
from pipeline.pretrain.pieces import Pieces, pieces_of
from pipeline.pretrain.pretext import Masking, Start
from pipeline.ranges import Probability

LOADER = "AutoModelForMaskedLM"


def build(
    *,
    start: Start,
    masking: Masking,
    mask_ratio: float,
    max_length: int,
    seed: int,
    mask_token_ratio: Probability = 0.8,
    random_token_ratio: Probability = 0.1,
) -> "MaskedLM":
    """Take the family's masked language model, with the checkpoint's own head or a new one tied to the embeddings.

    Args:
        start: tokenizer and weights to begin with.
        masking: which tokens are masked together.
        mask_ratio: share of tokens to predict.
        max_length: tokens per row.
        seed: of the masks.
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
    model, new = start.load(LOADER)
    special = {*special_ids(start.tokenizer), *start.tokenizer.all_special_ids}
    known = [number for number in sorted(start.tokenizer.get_vocab().values()) if number not in special]
    rule = Replacing(mask_token(start), np.array(known), mask_token_ratio, random_token_ratio)
    masks = Masks(masking, mask_ratio, seed)
    return MaskedLM(LanguageModel(model), start, masks, rule, max_length, notes_on(start, new))


@dataclass(frozen=True)
class Replacing:
    """What stands in the place of the tokens to predict; the fields are as in `Masks.replaced`."""

    mask_id: int
    ordinary: np.ndarray
    mask_token_ratio: float
    random_token_ratio: float


@dataclass(frozen=True)
class MaskedLM:
    """The pretext: a language model, and how its texts are masked."""

    model: LanguageModel
    start: Start
    masks: Masks
    replacing: Replacing
    max_length: int
    notes: list[str]

    def objective(
        self,
        texts: Sequence[str],
        *,
        seed: int,
        epoch_of: Callable[[int], int],
        text_pairs: Sequence[str] | None = None,
    ) -> "MaskedTexts":
        """Return the rows of texts, or of pairs of them."""
        spans, tokenizer = self.masks.masking.spans, self.start.tokenizer
        pieces = pieces_of(tokenizer, texts, text_pairs, max_length=self.max_length, spans=spans)
        masks = Masks(self.masks.masking, self.masks.ratio, seed)
        return MaskedTexts(pieces, masks, self.replacing, epoch_of)

    def score_sums(self, batch: dict[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, float]]:
        """Return the loss and how many tokens are told right."""
        logits, labels = self.model(batch).float(), batch["labels_at_places"]
        right = (logits.argmax(dim=1) == labels).sum()
        n_places = float(len(labels))
        return {
            "loss": (cross_entropy(logits, labels, reduction="sum"), n_places),
            "accuracy": (right, n_places),
        }

    def save(self, folder: Path) -> None:
        """Write model, head and tokenizer."""
        save_model(self.model.model, self.start.tokenizer, folder)


@dataclass(frozen=True)
class MaskedTexts:
    """An `Objective`: rows of texts, each with its own masks in each epoch."""

    pieces: Pieces
    masks: Masks
    replacing: Replacing
    epoch_of: Callable[[int], int]

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of each row (N,)."""
        return self.pieces.encoded.lengths

    def batch(self, rows: np.ndarray, step: int) -> dict[str, torch.Tensor]:
        """Return the inputs (B, T), the `places` (M,) to predict and the `labels_at_places` (M,)."""
        batch, epoch = self.pieces.encoded.batch(rows), self.epoch_of(step)
        ids, chosen = batch["input_ids"].numpy(), self.masks.chosen(self.pieces.units_of(rows), rows, epoch)
        shown = self.masks.replaced(ids, chosen, rows, epoch, **vars(self.replacing))
        places = np.flatnonzero(chosen)
        labels = torch.from_numpy(ids.reshape(-1)[places])
        return {
            **batch,
            "input_ids": torch.from_numpy(shown),
            "places": torch.from_numpy(places),
            "labels_at_places": labels,
        }

    def weights(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """Return how many tokens are predicted."""
        return {"loss": float(len(batch["places"]))}

    def loss_sums(self, model: nn.Module, batch: dict[str, torch.Tensor], progress: float) -> dict[str, torch.Tensor]:
        """Return the cross-entropy summed over the tokens to predict."""
        return {"loss": cross_entropy(model(batch).float(), batch["labels_at_places"], reduction="sum")}
