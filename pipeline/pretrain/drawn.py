"""A pretext of two parts: how rows are drawn in an epoch, and a module that says of such a batch how well it is done.

Shapes: B rows of a batch, T tokens, M tokens to predict, V tokens of the vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pipeline.pretrain.language_model import LanguageModel, save_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from pipeline.training_contracts import Batch
IGNORED = -100  # a label that is none, in padding
NO_ITEMS = 1e-9  # in the place of 0 items, whose sum is 0 too: a row of one token has none that follows
Draw = Callable[[np.ndarray, int], "Batch"]
"""The tensors of rows, given as their numbers (B,), in an epoch: a function of seed, epoch and row alone."""
Measures = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""By name a sum, 0-d, and over how many items it goes."""


@dataclass(frozen=True)
class DrawnRows:
    """An `Objective` over rows that a function draws; what its model returns of a batch are `Measures`.

    `losses` names those that are learnt: the tensor of labels in a batch that they are over, and a factor.
    """

    lengths: np.ndarray
    draw: Draw
    epoch_of: Callable[[int], int]
    losses: Mapping[str, tuple[str, float]]

    def batch(self, rows: np.ndarray, step: int) -> "Batch":
        """Return the tensors of rows (B,), as drawn in the step's epoch."""
        return self.draw(rows, self.epoch_of(step))

    def weights(self, batch: "Batch") -> dict[str, float]:
        """Return how many labels each loss is over."""
        counts = {name: int((batch[labels] != IGNORED).sum()) for name, (labels, _) in self.losses.items()}
        return {name: count or NO_ITEMS for name, count in counts.items()}

    def loss_sums(self, model: nn.Module, batch: "Batch", progress: float) -> dict[str, torch.Tensor]:
        """Return the losses, each times its factor."""
        measures: Measures = model(batch)
        return {name: factor * measures[name][0] for name, (_, factor) in self.losses.items()}


@dataclass(frozen=True)
class DrawnPretext:
    """A `Pretext`: `model` takes batches and returns `Measures`, `kept` is the part of it that is saved.

    `rows_of` takes texts and a seed and returns the tokens of each row and how rows are drawn.
    """

    model: nn.Module
    kept: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    rows_of: Callable[[Sequence[str], int], tuple[np.ndarray, Draw]]
    losses: Mapping[str, tuple[str, float]]
    notes: list[str]

    def objective(self, texts: Sequence[str], *, seed: int, epoch_of: Callable[[int], int]) -> DrawnRows:
        """Return the rows of texts."""
        lengths, draw = self.rows_of(texts, seed)
        return DrawnRows(lengths, draw, epoch_of, self.losses)

    def score_sums(self, batch: "Batch") -> dict[str, tuple[torch.Tensor, float]]:
        """Return what the model says of a batch."""
        measures: Measures = self.model(batch)
        return {name: (total, float(n_items) or NO_ITEMS) for name, (total, n_items) in measures.items()}

    def save(self, folder: Path) -> None:
        """Write what is kept, and the tokenizer."""
        save_model(self.kept, self.tokenizer, folder)


class Predictor(nn.Module):
    """A language model that measures how well it tells the tokens `labels_at_places` (M,) at `places` (M,)."""

    def __init__(self, language: LanguageModel) -> None:
        super().__init__()
        self.language = language

    def forward(self, batch: "Batch") -> Measures:
        return told(self.language(batch), batch["labels_at_places"])


def told(logits: torch.Tensor, labels: torch.Tensor) -> Measures:
    """Return the cross-entropy, as `loss`, and the `accuracy` of logits (M, V) for labels (M,) that are not ignored."""
    n_items = (labels != IGNORED).sum()
    loss = cross_entropy(logits.float(), labels, reduction="sum", ignore_index=IGNORED)
    return {"loss": (loss, n_items), "accuracy": ((logits.argmax(dim=-1) == labels).sum(), n_items)}


@torch.no_grad()
def reads_ahead(model: Any, attention_mask: torch.Tensor | None = None) -> bool:
    """Return whether the state of the first of four tokens changes with the last one, under a mask that both rows have."""
    last = model.get_input_embeddings().num_embeddings - 1
    ids = torch.tensor([[last, last, last, last], [last, last, last, last - 1]])
    given = {} if attention_mask is None else {"attention_mask": attention_mask}
    states: torch.Tensor = model.eval().base_model(input_ids=ids, **given).last_hidden_state
    return not torch.allclose(states[0, 0], states[1, 0], atol=1e-6)
