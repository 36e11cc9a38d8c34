"""States of a fold's frozen encoders: computed once into a half-precision file that all heads read, or anew in every epoch.

A state is kept for real tokens only: row i has `states[starts[i]:starts[i + 1]]`, float16 (tokens, H).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.errors.exceptions import DivergedError, MachineError, ParamsError
from pipeline.errors.failpoints import failpoint
from pipeline.models.accelerators import accelerator_for
from pipeline.models.adapted import in_float32
from pipeline.models.batching import Encoded, encode_rows, padded_positions
from pipeline.models.classifier import TextClassifier, encoder_half, load_classifier
from pipeline.models.prediction import outputs_of
from pipeline.params.encoders import Encoder
from pipeline.reproducibility import derive_seed
from pipeline.stitch.alignment import word_spans
from pipeline.text.templates import FIELD
from pipeline.units.execution import Workspace

STATES = "states.npy"
TOKENS = "tokens.npz"
BYTES_PER_VALUE = 2
LARGEST = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True)
class Base:
    """An encoder of one fold whose states are stitched.

    `model` is the folder of the fold's fine-tuned model, `digest` that of its files and `code` that of what computes
    states. With `fresh` the encoder is taken as it was before fine-tuning, built from these texts and this seed as the
    fold's own was; `digest` is then that of what it is built from.
    """

    encoder: str
    settings: Encoder
    model: Path
    digest: str
    code: str
    layers: Literal["last", "last_four"] | int
    without_offsets: Literal["refuse", "words"]
    fresh: tuple[Sequence[str], int] | None = field(default=None, repr=False)

    def depends_on(self) -> dict[str, Any]:
        """Return what the states of given rows depend on besides code and machine, as JSON."""
        reading: dict[str, Any] = {"max_length": self.settings.max_length, "truncation": self.settings.truncation}
        if self.settings.field_budgets or self.settings.chat_template:
            reading |= self.settings.model_dump(include={"field_budgets", "chat_template"})
        taken = {"layers": self.layers, "without_offsets": self.without_offsets, "fresh": self.fresh is not None}
        return {"model": self.digest, "code": self.code, "precision": self.settings.precision, **reading, **taken}

    def load(self, *, merged: bool = False) -> tuple[TextClassifier, Any]:
        """Return a module that gives states for a batch, frozen and in evaluation mode, and the tokenizer.

        `merged`: see `load_classifier`.
        """
        if self.fresh is None:
            classifier, tokenizer = load_classifier(self.model, merged=merged)
            backbone = classifier.backbone
        else:
            texts, seed = self.fresh[0], derive_seed(self.fresh[1], "encoder")
            parts = self.settings.source.build(texts=texts, max_length=self.settings.longest_input, seed=seed)
            backbone, tokenizer = encoder_half(in_float32(parts.model) if merged else parts.model), parts.tokenizer
        return TextClassifier(backbone, LayerStates(self.layers)).requires_grad_(False).eval(), tokenizer

    def encode(self, tokenizer: Any, rows: pd.DataFrame) -> Encoded:
        """Tokenize `text` and `text_pair` of rows as the encoder was trained, with the tokens' spans in the text.

        Raises:
            ParamsError: if the tokenizer gives no spans, and `without_offsets` is refuse or the texts are more than plain.
        """
        encoded = encode_rows(tokenizer, rows, self.settings)
        if encoded.spans is not None:
            return encoded
        if self.without_offsets == "refuse":
            raise ParamsError(
                f"encoders.{self.encoder}: its tokenizer {type(tokenizer).__name__} does not say where a token stands in "
                "the text, so it cannot be stitched token by token. Set stitch.without_offsets: words, or leave it out of "
                "stitch.pairs."
            )
        in_pieces = any(FIELD in text for text in [*rows["text"], *rows["text_pair"].dropna()])
        if in_pieces or self.settings.chat_template or self.settings.field_budgets:
            raise ParamsError(
                f"encoders.{self.encoder}: a tokenizer that does not say where a token stands, {type(tokenizer).__name__}, "
                "must be stitched over plain texts, got a template of texts, field_budgets or chat_template. Leave it out of "
                "stitch.pairs."
            )
        pairs = None if rows["text_pair"].isna().all() else rows["text_pair"].fillna("").tolist()
        texts, cut = rows["text"].tolist(), self.settings.truncation
        return replace(encoded, spans=word_spans(tokenizer, texts, pairs, encoded, truncation=cut))


class LayerStates(nn.Module):
    """Stands in a classifier's place of the readout and hands out states instead of logits."""

    def __init__(self, layers: Literal["last", "last_four"] | int) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the states (B, T, H) of the last layer, of a layer by number, or the mean of the last four.

        >>> LayerStates("last_four")(tuple(torch.full((1, 1, 1), float(n)) for n in range(6)), torch.ones(1, 1)).item()
        3.5
        """
        if self.layers == "last":
            return hidden_states[-1]
        if self.layers == "last_four":
            return torch.stack(hidden_states[1:][-4:] or hidden_states).mean(dim=0)
        if self.layers >= len(hidden_states):
            raise ParamsError(f"stitch.layers: must be at most {len(hidden_states) - 1}, got {self.layers}. Lower it.")
        return hidden_states[self.layers]


class Cached:
    """The states of rows from a file: what `extract` wrote."""

    def __init__(self, folder: Path) -> None:
        try:
            with np.load(folder / TOKENS) as tokens:
                self.encoded = Encoded(**{name: tokens[name] for name in tokens.files})
            self.states = np.load(folder / STATES, mmap_mode="r")  # (tokens, H), float16
        except (OSError, ValueError) as error:
            what = f"the cached states cannot be read: {error}. Run dvc repro; they are made again."
            raise MachineError(f"{folder}: {what}") from error
        self.hidden_size = self.states.shape[1]

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return `states` (B, T, H), float16, zero in padding."""
        mask, positions = padded_positions(self.encoded.starts, rows)
        states = self.states[positions]
        states[~mask] = 0
        return {"states": torch.from_numpy(states)}


class Online:
    """The tokens of rows, whose states are computed when they are needed."""

    def __init__(self, encoded: Encoded, hidden_size: int) -> None:
        self.encoded, self.hidden_size = encoded, hidden_size

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask` and `token_type_ids` (B, T)."""
        return self.encoded.batch(rows)


def extract(workspace: Workspace, *, base: Base, rows: pd.DataFrame) -> None:
    """Compute the states of rows (`text`, `text_pair`) in one pass; write them and the tokens into the workspace's result.

    Raises:
        DivergedError: if a state is not finite.
        MachineError: if the disk is full.
    """
    model, tokenizer = base.load()
    encoded = base.encode(tokenizer, rows)
    accelerator = accelerator_for(base.settings.precision, workspace.device)
    model.to(accelerator.device)
    shape = (int(encoded.starts[-1]), hidden_size(model))
    try:
        states = np.lib.format.open_memmap(workspace.result / STATES, mode="w+", dtype=np.float16, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS; a full disk must be an error here, not a crash later
            with (workspace.result / STATES).open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, states.offset + states.nbytes)
        np.savez(workspace.result / TOKENS, **vars(encoded))
    except OSError as error:
        raise MachineError(
            f"{workspace.result}: cannot hold the states of {base.encoder}: {error}. Free space, or set "
            "stitch.features: online."
        ) from error
    with accelerator.autocast():
        for part, outputs in outputs_of(model, encoded, base.settings.tokens_per_micro_batch, monitor=workspace):
            mask, positions = padded_positions(encoded.starts, part)
            values = outputs.cpu().numpy()[mask]  # (tokens, H)
            if not np.isfinite(values).all():
                raise DivergedError(
                    f"states of {base.encoder}: must be finite, got NaN or infinity. Lower its learning rate, or use "
                    "precision fp32."
                )
            states[positions[mask]] = values.clip(-LARGEST, LARGEST)
    failpoint("states")
    states.flush()


def hidden_size(model: TextClassifier) -> int:
    """Return the width H of a model's states."""
    return int(model.backbone.config.get_text_config().hidden_size)
