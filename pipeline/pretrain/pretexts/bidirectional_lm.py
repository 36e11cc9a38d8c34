"""Language models in both directions: each tells the token that it reads next, one from the left, one from the right.

Source: Peters et al., Deep contextualized word representations (ELMo), 2018, section 3.1, https://arxiv.org/abs/1802.05365
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from pipeline.models.batching import Encoded, encode
from pipeline.models.language_lstm import DIRECTIONS, BidirectionalLM, checked
from pipeline.pretrain.language_model import notes_on, save_model
from pipeline.pretrain.pretext import Start

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pipeline.training_contracts import Batch

LOADER = "AutoModel"
LANGUAGE_MODELS = "in two directions"  # of which sources


def build(*, start: Start, max_length: int, tied: bool = True) -> "BothDirections":
    """Put a new softmax, the same for both directions, on the model; masks have no part in it.

    Args:
        start: tokenizer and weights to begin with.
        max_length: tokens per row.
        tied: whether the softmax has the token vectors for its weights.

    Raises:
        ParamsError: if the source is another model than one of two directions that do not see one another.
    """
    model, new = start.load(LOADER)
    encoder = checked(model, origin=start.origin)
    return BothDirections(BidirectionalLM(encoder, tied=tied), start.tokenizer, max_length, notes_on(start, new))


@dataclass(frozen=True)
class BothDirections:
    """The pretext: a language model of both directions."""

    model: BidirectionalLM
    tokenizer: "PreTrainedTokenizerFast"
    max_length: int
    notes: list[str]

    def objective(self, texts: Sequence[str], *, seed: int, epoch_of: Callable[[int], int]) -> "WholeTexts":
        """Return the rows of texts; nothing is drawn for them."""
        return WholeTexts(encode(self.tokenizer, texts, None, max_length=self.max_length, truncation="head"))

    def score_sums(self, batch: "Batch") -> dict[str, tuple[torch.Tensor, float]]:
        """Return the loss, also of each direction, and how many tokens are told right."""
        losses, targets = self.model.loss_sums(batch), self.model.targets(batch)
        right = sum((logits.argmax(dim=1) == targets[name]).sum() for name, logits in self.model(batch).items())
        n_tokens = float(len(targets[DIRECTIONS[0]]))
        by_direction = {name: (loss, n_tokens) for name, loss in losses.items()}
        both = torch.stack([*losses.values()]).sum(), 2 * n_tokens
        return {"loss": both, **by_direction, "accuracy": (torch.as_tensor(right), 2 * n_tokens)}

    def save(self, folder: Path) -> None:
        """Write the model and its tokenizer; the softmax is left."""
        save_model(self.model.encoder, self.tokenizer, folder)


@dataclass(frozen=True)
class WholeTexts:
    """An `Objective`: rows of texts as they are."""

    encoded: Encoded

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of each row (N,)."""
        return self.encoded.lengths

    def batch(self, rows: np.ndarray, step: int) -> "Batch":
        """Return the inputs (B, T)."""
        return self.encoded.batch(rows)

    def weights(self, batch: "Batch") -> dict[str, float]:
        """Return how many tokens each direction tells."""
        return dict.fromkeys(DIRECTIONS, float(batch["attention_mask"][:, 1:].sum()))

    def loss_sums(self, model: nn.Module, batch: "Batch", progress: float) -> dict[str, torch.Tensor]:
        """Return the cross-entropy of each direction summed over the tokens that it tells."""
        losses: dict[str, torch.Tensor] = model.loss_sums(batch)  # type: ignore[operator]
        return losses
