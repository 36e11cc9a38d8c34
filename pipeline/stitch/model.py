"""The model that stitching trains: frozen encoders side by side, their states on one encoder's tokens, under one head.

Source: Kim, Convolutional Neural Networks for Sentence Classification, 2014, section 3.1 (several embeddings of a word as
channels), https://arxiv.org/abs/1408.5882; Peters et al., ELMo, 2018, section 3.3 (frozen contextual states, normalised,
beside other vectors), https://arxiv.org/abs/1802.05365
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline import components
from pipeline.models.batching import padded_positions
from pipeline.models.classifier import TextClassifier, build_readout
from pipeline.stitch.alignment import Alignment, align, batch_index, gather_states
from pipeline.stitch.states import Cached, Online
from pipeline.training.classification import part


class Side(nn.Module):
    """One encoder's states before they are fused: normalised, disturbed while training, projected."""

    def __init__(self, size: int, spec: dict[str, Any]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size) if spec["layer_norm"] else nn.Identity()
        self.noise = spec["noise"]
        self.dropout = nn.Dropout(spec["dropout"])
        self.projection = nn.Linear(size, spec["projection"]) if spec["projection"] else nn.Identity()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        states = self.norm(states.float())  # (B, T, H)
        if self.training and self.noise:
            states = states + self.noise * torch.randn_like(states)
        return self.projection(self.dropout(states))  # (B, T, projection or H)


class Stitch(nn.Module):
    """All that is trained: the sides, their fusion and the head. A function of `spec`, as JSON, and the seed."""

    def __init__(self, spec: dict[str, Any], *, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.spec = spec
        self.sides = nn.ModuleList(Side(size, spec) for size in spec["sizes"])
        name, options = spec["fusion"]
        widths = [spec["projection"] or size for size in spec["sizes"]]
        self.fusion = components.build("fusions", name, options, sizes=widths)
        self.readout = build_readout(spec, self.fusion.output_size, 0, spec["n_outputs"])

    def forward(self, states: Sequence[torch.Tensor], attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits (B, C) for one (B, T, H) per side, all on the frame's tokens, and the frame's mask (B, T)."""
        sides = [side(of_side) for side, of_side in zip(self.sides, states, strict=True)]
        return self.readout((self.fusion(sides, attention_mask),), attention_mask)


class StitchedClassifier(nn.Module):
    """Encoders and what is stitched on top of them.

    Frozen encoders are no part of the module: they stay in evaluation mode and out of checkpoints and optimizers.
    Without encoders the batches must bring states.
    """

    def __init__(self, stitch: Stitch, encoders: Sequence[TextClassifier] = (), *, tuned: bool = False) -> None:
        super().__init__()
        self.stitch = stitch
        self.tuned = nn.ModuleList(encoders if tuned else ())
        self.frozen = () if tuned else tuple(encoders)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return logits (B, C) for a batch of `SideBySide`."""
        mask = batch["attention_mask"]  # (B, T)
        states = []
        for number in range(len(self.stitch.sides)):
            inputs = part(batch, f"{number}.")
            pairs = {name: inputs.pop(name) for name in ("target", "source", "weight") if number}
            values = inputs["states"] if "states" in inputs else self._states(number, inputs)  # (B, T of the side, H)
            if number:
                shape, mode = (mask.shape[0], mask.shape[1]), self.stitch.spec["alignment"]
                values = gather_states(values, **pairs, shape=shape, mode=mode)  # (B, T, H)
            states.append(values)
        return self.stitch(states, mask)

    @contextmanager
    def changed_embeddings(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """Let a function change the vectors (B, T, F) that the head reads within the block: what it has for embeddings."""
        handle = self.stitch.fusion.register_forward_hook(lambda module, inputs, vectors: change(vectors))
        try:
            yield
        finally:
            handle.remove()

    def _states(self, number: int, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.tuned:
            states: torch.Tensor = self.tuned[number](batch)
            return states
        with torch.no_grad():
            return self.frozen[number].to(batch["input_ids"].device)(batch)


@dataclass(frozen=True)
class SideBySide:
    """Rows as all sides see them, the frame first; alignments bring each other side onto the frame."""

    sides: Sequence[Cached | Online]
    alignments: Sequence[Alignment]

    @classmethod
    def of(cls, sides: Sequence[Cached | Online]) -> "SideBySide":
        """Align the sides of the same rows."""
        return cls(sides, [align(sides[0].encoded, side.encoded) for side in sides[1:]])

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row (N,) of the side that has most."""
        longest: np.ndarray = np.max([side.encoded.lengths for side in self.sides], axis=0)
        return longest

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the frame's `attention_mask` (B, T), and under `<number>.` each side's tensors and its alignment."""
        frame = self.sides[0].encoded
        mask, _ = padded_positions(frame.starts, rows)
        batch = {"attention_mask": torch.from_numpy(mask.astype(np.int64))}
        for number, side in enumerate(self.sides):
            inputs = side.batch(rows)
            if number:
                widths = {"frame_length": mask.shape[1], "other_length": int(side.encoded.lengths[rows].max())}
                inputs |= batch_index(self.alignments[number - 1], frame.starts, rows, **widths)
            batch |= {f"{number}.{name}": tensor for name, tensor in inputs.items()}
        return batch


@dataclass(frozen=True)
class Part:
    """Some rows of others' inputs, by their positions."""

    inputs: SideBySide
    positions: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row (N,)."""
        return self.inputs.lengths[self.positions]

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the tensors of rows (B,), numbered within the part."""
        return self.inputs.batch(self.positions[rows])
