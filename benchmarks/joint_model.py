"""The peer of stitching.py: one pair as one joint model, in plain PyTorch, both frozen encoders run on every batch.

It shares with ours what must be equal for a comparison (initial weights, batches, seeds of dropout, learning rates, the
head's own code) and neither states nor alignment: those are its own, the latter a matrix per row.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from pipeline.models.batching import Encoded, epoch_batches
from pipeline.reproducibility import derive_seed
from pipeline.stitch.fold_training import _sides, _spec
from pipeline.stitch.model import Stitch
from pipeline.stitch.states import Base

if TYPE_CHECKING:
    from pipeline.params.stitch import Stitch as Settings


class Joint(nn.Module):
    """Two frozen encoders, the second brought onto the first's tokens, and what is trained."""

    def __init__(
        self, spec: dict[str, Any], sides: Sequence[Any], loaded: Sequence[Any], *, seed: int, half: bool = False
    ) -> None:
        """Take the head's description, the rows, the encoders, and whether states are rounded to half precision."""
        super().__init__()
        self.stitch = Stitch(spec, seed=derive_seed(seed, "stitch"))
        self.frozen = [(one.backbone, one.accepted) for one in loaded]
        self.seed, self.half_states = derive_seed(seed, "training"), half
        self.read(sides)

    def read(self, sides: Sequence[Any]) -> None:
        """Take other rows."""
        self.encoded: list[Encoded] = [side.encoded for side in sides]
        self.lengths = np.max([one.lengths for one in self.encoded], axis=0)
        spans = [np.split(side.encoded.spans, side.encoded.starts[1:-1]) for side in sides]
        self.matrices = [torch.from_numpy(overlaps(*both)) for both in zip(*spans, strict=True)]

    def forward(self, rows: np.ndarray) -> torch.Tensor:
        """Return logits (B, C) of rows."""
        batches = [one.batch(rows) for one in self.encoded]
        with torch.no_grad():
            frame, other = (
                model(**{name: one for name, one in batch.items() if name in accepted}).last_hidden_state
                for (model, accepted), batch in zip(self.frozen, batches, strict=True)
            )  # (B, T, H) and (B, T of the other, H)
            if self.half_states:
                frame, other = frame.half().float(), other.half().float()
            matrix = torch.zeros(len(rows), frame.shape[1], other.shape[1])
            for place, row in enumerate(rows):
                own = self.matrices[row]
                matrix[place, : own.shape[0], : own.shape[1]] = own
            states = frame, torch.bmm(matrix, other)  # 2 x (B, T, H)
        return self.stitch(states, batches[0]["attention_mask"])

    def fit(self, labels: torch.Tensor, settings: "Settings", *, epochs: int, stop_after: int) -> None:
        """Train as for so many epochs, but stop after some of them."""
        decayed = [one for one in self.stitch.parameters() if one.ndim > 1]
        others = [one for one in self.stitch.parameters() if one.ndim == 1]
        optimizer = torch.optim.AdamW(
            [{"params": others, "weight_decay": 0.0}, {"params": decayed, "weight_decay": settings.weight_decay}],
            fused=True,
        )
        n_steps, step = epochs * -(-len(labels) // settings.batch_size), 0
        factor = settings.schedule.build(n_steps=n_steps, n_warmup_steps=round(settings.warmup_ratio * n_steps))
        self.stitch.train()
        for epoch in range(stop_after):
            for rows in epoch_batches(self.lengths, batch_size=settings.batch_size, seed=self.seed, epoch=epoch):
                for group in optimizer.param_groups:
                    group["lr"] = 10 * settings.learning_rate * factor(step)
                torch.manual_seed(derive_seed(self.seed, "dropout", step, 0))
                optimizer.zero_grad()
                functional.cross_entropy(self(rows), labels[torch.from_numpy(rows)]).backward()
                nn.utils.clip_grad_norm_(self.stitch.parameters(), settings.max_grad_norm)
                optimizer.step()
                step += 1

    @torch.no_grad()
    def logits(self) -> np.ndarray:
        """Return logits (N, C) of all rows in their order."""
        self.stitch.eval()
        n_rows = len(self.lengths)
        return torch.cat([self(rows) for rows in np.split(np.arange(n_rows), range(32, n_rows, 32))]).numpy()


def overlaps(frame: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the weights, float32 (T, T of the other), with which tokens receive one another's states."""
    if np.array_equal(frame, other):
        return np.eye(len(frame), dtype=np.float32)
    ends = np.minimum(frame[:, None, 1], other[None, :, 1])
    shared = np.maximum(ends - np.maximum(frame[:, None, 0], other[None, :, 0]), 0)
    return (shared / np.maximum(shared.sum(axis=1, keepdims=True), 1)).astype(np.float32)


def joint_model(
    pair: Sequence[Base], head: str, rows: pd.DataFrame, *, settings: "Settings", seed: int, half: bool = False
) -> Joint:
    """Return the peer of one pair and head, its tokens and alignment made."""
    sides, loaded = _sides(pair, None, rows)
    spec = _spec(settings, settings.heads[head], sides, pair, 1 + int(rows["label"].max()))
    return Joint(spec, sides, loaded, seed=seed, half=half)
