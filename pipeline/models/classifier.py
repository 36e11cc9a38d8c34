"""An encoder with a pooling and a head, as one module that saves to a folder and loads from it."""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from pipeline import components
from pipeline.contracts import EncoderParts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from pipeline.params.fields import Component
WEIGHTS = "model.safetensors"
READOUT = "readout.json"


class Readout(nn.Module):
    """From hidden states to logits: a pooling and a head that reads a vector, or a head that reads tokens.

    In training the logits are the mean of `dropout_samples` passes through the head. Source: Inoue, Multi-Sample Dropout for
    Accelerated Training and Better Generalization, 2019, https://arxiv.org/abs/1905.09788 (which averages the losses).
    """

    dropout_samples = 1

    def __init__(self, pooling: nn.Module | None, head: nn.Module, spec: dict[str, Any]) -> None:
        super().__init__()
        self.pooling = pooling
        self.head = head
        self.spec = spec

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(hidden_states, attention_mask), attention_mask)  # (B, C)

    def features(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        """Return what the head reads: the pooled vector (B, H), or the last states (B, T, H)."""
        return hidden_states[-1] if self.pooling is None else self.pooling(hidden_states, attention_mask)

    def classify(self, features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits (B, C) for what the head reads."""
        inputs = (features, attention_mask) if self.pooling is None else (features,)
        if not self.training or self.dropout_samples == 1:
            logits: torch.Tensor = self.head(*inputs)
            return logits
        return torch.stack([self.head(*inputs) for _ in range(self.dropout_samples)]).mean(dim=0)


class TextClassifier(nn.Module):
    """A backbone and a readout: a `Readout`, or what stands in its place and takes the same states and mask."""

    backbone: "PreTrainedModel"
    readout: nn.Module

    def __init__(self, backbone: "PreTrainedModel", readout: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.readout = readout
        self.accepted = frozenset(inspect.signature(backbone.forward).parameters)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return logits (B, C) for a batch of `input_ids`, `attention_mask` and `token_type_ids` (B, T)."""
        logits: torch.Tensor = self.readout(self.hidden_states(batch), batch["attention_mask"])  # (B, C)
        return logits

    def hidden_states(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Return the states of the embeddings and of each layer, (L + 1) x (B, T, H)."""
        inputs = {name: tensor for name, tensor in batch.items() if name in self.accepted}
        states: tuple[torch.Tensor, ...] = self.backbone(**inputs, output_hidden_states=True).hidden_states
        return states

    @contextmanager
    def changed_embeddings(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """Let a function change the vectors (B, T, E) of the tokens within the block, before positions are added.

        A hook rather than `inputs_embeds`: some families find positions or padding by the ids, some take no vectors.
        """
        embedding = input_embedding(self.backbone)
        handle = embedding.register_forward_hook(lambda module, inputs, vectors: change(vectors))
        try:
            yield
        finally:
            handle.remove()


def build_classifier(
    parts: EncoderParts, *, pooling: "Component | None", head: "Component", n_outputs: int, seed: int
) -> TextClassifier:
    """Put a new readout, a function of the seed, on an encoder."""
    torch.manual_seed(seed)
    spec = {"head": [head.name, head.options], "pooling": [pooling.name, pooling.options] if pooling else None}
    return _classifier(parts.model, spec, n_outputs)


def _classifier(model: "PreTrainedModel", spec: dict[str, Any], n_outputs: int) -> TextClassifier:
    backbone = encoder_half(model)
    config = backbone.config.get_text_config()
    return TextClassifier(backbone, build_readout(spec, config.hidden_size, config.num_hidden_layers, n_outputs))


def encoder_half(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return the encoder of an encoder-decoder such as bart, any other model as it is."""
    half: PreTrainedModel = model.get_encoder() if model.config.is_encoder_decoder else model
    return half


def input_embedding(backbone: "PreTrainedModel") -> nn.Module:
    """Return the module that turns token ids (B, T) into vectors (B, T, E)."""
    try:
        embedding: nn.Module = backbone.get_input_embeddings()
    except NotImplementedError:
        embedding = cast(nn.Module, backbone.embeddings)  # of `WordVectorsModel`
    return embedding


def special_ids(tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """Return the ids that a tokenizer adds to texts by itself: those of an empty pair. None stands for a word."""
    return sorted(set(tokenizer([""], [""])["input_ids"][0]))


def build_readout(spec: dict[str, Any], hidden_size: int, n_layers: int, n_outputs: int) -> Readout:
    """Return a readout with new weights from its description: `pooling` and `head`, each a name and options, or None."""
    pooling = None
    if spec["pooling"] is not None:
        name, options = spec["pooling"]
        pooling = components.build("poolings", name, options, hidden_size=hidden_size, n_layers=n_layers)
    name, options = spec["head"]
    input_size = getattr(pooling, "output_size", hidden_size)
    head = components.build("heads", name, options, input_size=input_size, n_outputs=n_outputs)
    return Readout(pooling, head, {**spec, "n_outputs": n_outputs})


def save_classifier(model: TextClassifier, tokenizer: "PreTrainedTokenizerFast", folder: Path, *, source: str) -> None:
    """Write weights (safetensors), configuration, tokenizer and readout into a folder.

    `source` is the component of `encoders/` that made the backbone and can restore it.
    """
    save_model(model, str(folder / WEIGHTS))
    model.backbone.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    spec = {"source": source, **cast("Readout", model.readout).spec}
    (folder / READOUT).write_text(json.dumps(spec, indent=1), encoding="utf-8")


def load_classifier(folder: Path) -> tuple[TextClassifier, "PreTrainedTokenizerFast"]:
    """Load what `save_classifier` wrote."""
    spec = json.loads((folder / READOUT).read_text(encoding="utf-8"))
    parts: EncoderParts = components.load("encoders", spec.pop("source"), "restore")(folder=folder)
    model = _classifier(parts.model, spec, spec["n_outputs"])
    load_model(model, str(folder / WEIGHTS))
    return model.eval(), parts.tokenizer
