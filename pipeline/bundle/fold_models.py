"""All models of one fold in one pass: each encoder reads a batch once, for its own head and for every stitched one."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline import components
from pipeline.bundle.weights import read_tensors
from pipeline.contracts import EncoderParts
from pipeline.model_sources import check_length
from pipeline.models.accelerators import precision_on
from pipeline.models.batching import Encoded, encode_rows
from pipeline.models.classifier import TextClassifier, build_readout, encoder_half
from pipeline.stitch.model import SideBySide, Stitch, StitchedClassifier
from pipeline.stitch.states import LARGEST, Base, LayerStates, Online, hidden_size
from pipeline.training.classification import part

TENSORS = "weights"


@dataclass(frozen=True)
class FoldModel:
    """A model of one fold: the numbers of its encoders, a stitched one's frame first, and what reads their states."""

    name: str
    encoders: list[int]
    readout: nn.Module


class FoldModels(nn.Module):
    """A fold's models side by side: their logits (B, C), one model after another, for a batch of `FoldInputs`."""

    def __init__(self, encoders: Mapping[int, TextClassifier], models: Sequence[FoldModel], described: Any) -> None:
        """Take encoders by their number, and what bundle.json says of them and of `stitching`."""
        super().__init__()
        self.numbers, self.models, self.described = list(encoders), models, described
        self.encoders = nn.ModuleList(encoders.values())
        self.readouts = nn.ModuleList(model.readout for model in models)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        device, states = next(iter(batch.values())).device.type, {}
        for number, encoder in zip(self.numbers, self.encoders, strict=True):
            inputs = part(batch, f"encoder{number}.")
            with self._precision(number, device):
                states[number] = encoder.hidden_states(inputs), inputs["attention_mask"]  # type: ignore[operator]
        return torch.cat([self._logits(model, states, batch, device).float() for model in self.models], dim=1)

    def _precision(self, encoder: int | None, device: str) -> AbstractContextManager[Any]:
        settings = self.described["stitching"] if encoder is None else self.described["encoders"][encoder]["settings"]
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision_on(settings["precision"], device))
        return torch.autocast(device, dtype) if dtype else nullcontext()

    def _logits(
        self, model: FoldModel, states: Mapping[int, Any], batch: dict[str, torch.Tensor], device: str
    ) -> torch.Tensor:
        if not isinstance(model.readout, Stitch):
            [number] = model.encoders
            with self._precision(number, device):
                logits: torch.Tensor = model.readout(*states[number])
            return logits
        stitching, inputs = self.described["stitching"], part(batch, f"{model.name}.")
        for side, number in enumerate(model.encoders):
            of_side = LayerStates(stitching["layers"])(*states[number])
            # As heads read them where they learnt from a file of half precision.
            of_side = of_side.float().clip(-LARGEST, LARGEST).half() if stitching["cached"] else of_side
            inputs[f"{side}.states"] = of_side
        with self._precision(None, device):
            logits = StitchedClassifier(model.readout)(inputs)
        return logits


@dataclass(frozen=True)
class FoldInputs:
    """Rows as each encoder reads them, and as each stitched model brings its encoders' tokens together."""

    encoded: Mapping[int, Encoded]
    stitched: Mapping[str, SideBySide]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row (N,) of the encoder that has most."""
        longest: np.ndarray = np.max([encoded.lengths for encoded in self.encoded.values()], axis=0)
        return longest

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return under `encoder<number>.` and under a stitched model's name the tensors of rows (B,)."""
        parts = {f"encoder{number}": encoded.batch(rows) for number, encoded in self.encoded.items()}
        parts |= {name: inputs.batch(rows) for name, inputs in self.stitched.items()}
        return {f"{name}.{key}": tensor for name, tensors in parts.items() for key, tensor in tensors.items()}


def load_fold(
    folder: Path, description: dict[str, Any], models: Mapping[str, dict[str, Any]], rows: pd.DataFrame
) -> tuple[FoldModels, FoldInputs]:
    """Return the models of a fold, given by name as bundle.json describes them, and rows as they read them.

    `folder` holds the weights; `rows` have `text` and `text_pair`.
    """
    encoders, encoded, readouts = {}, {}, []
    stitched = {name: model["encoders"] for name, model in models.items() if "sizes" in model["spec"]}
    for number in dict.fromkeys(number for model in models.values() for number in model["encoders"]):
        is_side = any(number in sides for sides in stitched.values())
        encoders[number], encoded[number] = _load_encoder(folder, description, number, rows, is_side=is_side)
    for name, model in models.items():
        readouts.append(FoldModel(name, model["encoders"], _load_readout(folder, description, model, encoders)))
    inputs = {
        name: SideBySide.of([Online(encoded[number], hidden_size(encoders[number])) for number in sides])
        for name, sides in stitched.items()
    }
    return FoldModels(encoders, readouts, description).requires_grad_(False).eval(), FoldInputs(encoded, inputs)


def _load_encoder(
    folder: Path, description: dict[str, Any], number: int, rows: pd.DataFrame, *, is_side: bool
) -> tuple[TextClassifier, Encoded]:
    entry, stitching = description["encoders"][number], description["stitching"]
    path, settings = folder / entry["folder"], SimpleNamespace(**entry["settings"])
    parts: EncoderParts = components.load("encoders", entry["source"], "restore")(folder=path)
    check_length(settings.window or settings.max_length, config=parts.model.config.to_dict(), origin=str(path))
    backbone = encoder_half(parts.model)
    backbone.load_state_dict(read_tensors(folder / TENSORS, entry["tensors"], description["tensors"]))
    classifier = TextClassifier(backbone, nn.Identity())
    classifier.window = settings.window
    reading: Any = settings
    if not is_side:
        return classifier, encode_rows(parts.tokenizer, rows, reading)
    base = Base(entry["encoder"], reading, path, "", "", stitching["layers"], stitching["without_offsets"])
    return classifier, base.encode(parts.tokenizer, rows)


def _load_readout(
    folder: Path, description: dict[str, Any], model: dict[str, Any], encoders: Mapping[int, TextClassifier]
) -> nn.Module:
    spec = model["spec"]
    if "sizes" in spec:
        readout: nn.Module = Stitch(spec, seed=0)
    else:
        config = encoders[model["encoders"][0]].backbone.config.get_text_config()
        readout = build_readout(spec, config.hidden_size, config.num_hidden_layers, spec["n_outputs"])
    readout.load_state_dict(read_tensors(folder / TENSORS, model["tensors"], description["tensors"]))
    return readout
