"""What `export` left: all folds of a stitched model as one torch module, which predicts from raw texts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from pipeline import components
from pipeline.artifacts.files import is_whole
from pipeline.bundle.description import DESCRIPTION, REMEDY, check_description, read_description
from pipeline.contracts import EncoderParts, TaskKind
from pipeline.errors.exceptions import DataError
from pipeline.model_sources import check_length
from pipeline.models.classifier import READOUT, WEIGHTS, TextClassifier, encoder_half
from pipeline.models.prediction import predict_logits
from pipeline.params.encoders import Encoder
from pipeline.stitch.model import SideBySide, Stitch, StitchedClassifier
from pipeline.stitch.states import Base, LayerStates, Online, hidden_size
from pipeline.text.normalising import clean


class ExportedModel(nn.Module):
    """All folds of a stitched model, encoders included; its prediction is the mean of the folds' probabilities."""

    def __init__(
        self, description: dict[str, Any], readers: Mapping[str, tuple[Base, Any]], encoders: Sequence[TextClassifier],
        stitches: Sequence[Stitch],
    ) -> None:  # fmt: skip
        """Put the parts together.

        Args:
            description: what export.json says.
            readers: by the sub-folder of an encoder what reads texts for it, with its tokenizer.
            encoders: in the order of the description; one that several folds share stands once.
            stitches: one per fold.
        """
        super().__init__()
        self.description, self.readers = description, dict(readers)
        self.encoders, self.stitches = nn.ModuleList(encoders), nn.ModuleList(stitches)

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the probabilities' columns."""
        return list(self.description["labels"])

    @property
    def kind(self) -> TaskKind:
        """The kind of task: it makes probabilities and labels of logits."""
        name, options = self.description["kind"]
        kind: TaskKind = components.build("task_kinds", name, options)
        return kind

    def predict_probabilities(
        self, texts: Sequence[str], text_pairs: Sequence[str] | None = None, *, tokens_per_batch: int = 8192
    ) -> np.ndarray:
        """Return probabilities, float64 (N, C), for raw texts: they are cleaned as the pipeline cleans its files.

        Runs where the module's weights are, in float32 unless under `torch.autocast`; leaves the module in evaluation mode.

        Args:
            texts: N texts.
            text_pairs: N second texts, for a model of pairs.
            tokens_per_batch: padded tokens per forward pass; halved when memory runs out.

        Raises:
            DataError: if a text is none, or pairs are missing, too many, or given to a model that knows none.
        """
        rows = self._rows(texts, text_pairs)
        if rows.empty:
            return np.zeros((0, len(self.labels)))
        self.eval()
        encoded = {folder: base.encode(tokenizer, rows) for folder, (base, tokenizer) in self.readers.items()}
        parts = []
        for stitch, fold in zip(self.stitches, self.description["folds"], strict=True):
            encoders: list[Any] = [self.encoders[number] for number in fold["encoders"]]
            folders = [self.description["encoders"][number]["folder"] for number in fold["encoders"]]
            pairs = zip(folders, encoders, strict=True)
            sides = [Online(encoded[folder], hidden_size(encoder)) for folder, encoder in pairs]
            classifier = StitchedClassifier(stitch, encoders)  # type: ignore[arg-type]
            logits = predict_logits(classifier, SideBySide.of(sides), tokens_per_batch)
            parts.append(self.kind.values(logits))
        mean: np.ndarray = np.mean(parts, axis=0)  # (N, C)
        return mean

    def predict_frame(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row per text: `label`, the likeliest, and `probability:<label>` for each; on a GPU if there is one."""
        self.to("cuda" if torch.cuda.is_available() else "cpu")
        return self.kind.answers(self.predict_probabilities(texts, text_pairs), self.labels)

    def _rows(self, texts: Sequence[str], text_pairs: Sequence[str] | None) -> pd.DataFrame:
        if self.description["pairs"] != (text_pairs is not None):
            kind, remedy = ("pairs of", "Give the second ones") if text_pairs is None else ("single", "Leave it out")
            raise DataError(f"text_pairs: the model was trained on {kind} texts. {remedy}.")
        first = _cleaned(texts, "texts")
        second = None if text_pairs is None else _cleaned(text_pairs, "text_pairs")
        if second is not None and len(second) != len(first):
            raise DataError(
                f"text_pairs: must be as many as texts, {len(first)}, got {len(second)}. Give one for each."
            )
        return pd.DataFrame({"text": first, "text_pair": second})


def load_exported(folder: Path) -> ExportedModel:
    """Return the module that `export` wrote into a folder, on the CPU.

    Raises:
        DataError: if the folder is no export, is damaged, or is of another version or form.
    """
    description = read_description(folder)
    if description is None:
        raise DataError(f"{folder}: is no export: it has no {DESCRIPTION}. Make one: stitchfold export.")
    check_description(folder, description)
    if not is_whole(folder):
        raise DataError(f"{folder}: does not match its manifest (damaged, or edited). {REMEDY}")
    try:
        return _load(folder, description)
    # The manifest says only that files are as whoever wrote it left them: what is in them may be anything.
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        raise DataError(f"{folder}: holds parts that do not fit together: {error}. {REMEDY}") from error


def _load(folder: Path, description: dict[str, Any]) -> ExportedModel:
    readers, encoders = {}, []
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn before the stored ones are read
        for entry in description["encoders"]:
            path = folder / entry["folder"]
            source = json.loads((path / READOUT).read_text(encoding="utf-8"))["source"]
            parts: EncoderParts = components.load("encoders", source, "restore")(folder=path)
            check_length(entry["max_length"], config=parts.model.config.to_dict(), origin=str(path))
            reading = {"max_length": entry["max_length"], "truncation": entry["truncation"]}
            settings = Encoder.model_validate({"source": source, **reading})
            base = Base(entry["encoder"], settings, path, "", "", entry["layers"], entry["without_offsets"])
            readers[entry["folder"]] = (base, parts.tokenizer)
            encoders.append(TextClassifier(encoder_half(parts.model), LayerStates(entry["layers"])))  # type: ignore[arg-type]
        stitches = [Stitch(fold["stitch"], seed=0) for fold in description["folds"]]
    model = ExportedModel(description, readers, encoders, stitches)
    load_model(model, str(folder / WEIGHTS))
    return model.requires_grad_(False).eval()


def _cleaned(texts: Sequence[str], name: str) -> list[str]:
    """Return texts as the table would hold them."""
    if isinstance(texts, str):
        raise DataError(f"{name}: must be a sequence of texts, got one text. Put it into a list.")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{name}: must all be text, got {text!r} in row {row}. Give '' where there is none.")
    # A lone surrogate is no character: UTF-8 cannot hold it.
    valid = [t if t.isascii() else t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts]
    cleaned: list[str] = clean(pa.array(valid, pa.large_string())).to_pylist()
    return cleaned
