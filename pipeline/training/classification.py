"""Labelled rows as something to train, and unlabelled ones beside them, with the loss of a component of `objectives/`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.errors.exceptions import DataError
from pipeline.models.batching import Encoded, Inputs
from pipeline.params.encoders import Encoder
from pipeline.params.stitch import Stitch
from pipeline.reproducibility import derive_seed
from pipeline.targets.standardising import units_of
from pipeline.training.weighted_loss import REST, WeightedLoss, standardised, weighed_by_class
from pipeline.training_contracts import Objective

ORIGINAL, VARIANT = "original_", "variant_"


@dataclass(frozen=True)
class Classification:
    """What fine-tuning and stitching train: labelled rows and a component of `objectives/`, which gives their loss.

    With `special_ids` a batch of token ids says which of them stand for no word. Of a `sum` of several losses each one is
    told by itself.
    """

    inputs: Inputs
    labels: torch.Tensor
    objective: Any
    special_ids: Sequence[int] | None = None
    sum: WeightedLoss | None = None

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row (N,)."""
        return self.inputs.lengths

    def batch(self, rows: np.ndarray, step: int) -> dict[str, torch.Tensor]:
        """Return the padded rows with their labels (B,), and `special_tokens_mask` (B, T) if the ids are known."""
        batch = {**self.inputs.batch(rows), "labels": self.labels[torch.from_numpy(rows)]}
        if self.special_ids is not None:
            batch["special_tokens_mask"] = torch.isin(batch["input_ids"], torch.tensor(self.special_ids).long())
        return batch

    def weights(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """Return the number of rows, for each loss the same."""
        return dict.fromkeys(["loss"] if self.sum is None else [*self.sum.names, REST], float(len(batch["labels"])))

    def loss_sums(self, model: nn.Module, batch: dict[str, torch.Tensor], progress: float) -> dict[str, torch.Tensor]:
        """Return the summed loss, or those of which it is a sum."""
        if self.sum is None:
            return {"loss": self.objective(model, batch, progress)}
        with self.sum.at(progress):
            return self.sum.apart(self.objective(model, batch, progress))


def build_objective(
    settings: Encoder | Stitch, *, targets: np.ndarray, labels: Sequence[str], n_outputs: int
) -> tuple[Any, WeightedLoss | None]:
    """Return the objective that settings name, over their loss, and the loss again if it is a sum of several.

    Numbers reach the loss standardised.

    Args:
        targets: of the rows that are trained on (N, …).
        labels: their names.

    Raises:
        ParamsError: if an option, or a label that it names, is wrong.
    """
    loss = settings.loss.build(n_outputs=n_outputs, labels=labels, targets=targets)
    several = loss if isinstance(loss, WeightedLoss) else None
    if (units := units_of(targets)) is not None:
        loss = standardised(loss, units)
    if settings.class_weights is not None:
        counts = np.bincount(targets, minlength=len(labels)).tolist()
        loss = weighed_by_class(loss, settings.class_weights.build(labels=labels, counts=counts))
    return settings.objective.build(loss=loss, n_outputs=n_outputs), several


@dataclass(frozen=True)
class WithUnlabelled:
    """An objective whose batches also carry unlabelled rows, `ratio` per labelled row, for objectives that read them.

    Which ones is a function of the seed, the step and the labelled row: over the steps every unlabelled row has its turn,
    and how a step is cut into micro-batches changes nothing. `variants` holds one of each of the `originals`, in their
    order; a row with several variants stands as often in both.

    Raises:
        DataError: if there is no unlabelled row, or not one variant of each.
    """

    objective: Objective
    originals: Encoded
    variants: Encoded
    ratio: int
    seed: int

    def __post_init__(self) -> None:
        n_originals, n_variants = len(self.originals.lengths), len(self.variants.lengths)
        if not n_originals or n_originals != n_variants:
            raise DataError(
                f"unlabelled rows: each must have one variant, got {n_originals} rows and {n_variants} variants. "
                "Give more texts, or another augmenter."
            )

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each labelled row (N,) and of the unlabelled ones that come with it, as many as these have on average."""
        per_row = self.originals.lengths.mean() + self.variants.lengths.mean()
        return self.objective.lengths + int(np.ceil(self.ratio * per_row))

    def batch(self, rows: np.ndarray, step: int) -> dict[str, torch.Tensor]:
        """Return the labelled batch, and under `original_` and `variant_` the inputs of `ratio` x B unlabelled rows."""
        chosen = self.chosen(rows, step)
        batch = self.objective.batch(rows, step)
        for prefix, inputs in ((ORIGINAL, self.originals), (VARIANT, self.variants)):
            batch |= {prefix + name: tensor for name, tensor in inputs.batch(chosen).items()}
        return batch

    def chosen(self, rows: np.ndarray, step: int) -> np.ndarray:
        """Return the unlabelled rows (`ratio` x B,) that come with labelled rows (B,) in a step."""
        n_rows = len(self.originals.lengths)
        seeds = (derive_seed(self.seed, "unlabelled", step, int(row)) for row in rows)
        return np.concatenate([np.random.default_rng(seed).integers(n_rows, size=self.ratio) for seed in seeds])

    def weights(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """Return the number of labelled rows."""
        return self.objective.weights(batch)

    def loss_sums(self, model: nn.Module, batch: dict[str, torch.Tensor], progress: float) -> dict[str, torch.Tensor]:
        """Return the objective's losses."""
        return self.objective.loss_sums(model, batch, progress)


def part(batch: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the inputs that a batch carries under a prefix.

    >>> part({"input_ids": torch.ones(1), "variant_input_ids": torch.zeros(2)}, VARIANT)
    {'input_ids': tensor([0., 0.])}
    """
    return {name.removeprefix(prefix): tensor for name, tensor in batch.items() if name.startswith(prefix)}
