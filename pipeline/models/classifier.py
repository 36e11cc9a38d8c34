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
from pipeline.artifacts.paths import READOUT
from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import ParamsError
from pipeline.models.adapted import ADAPTER, adapt_as, description_of, load_base, merge
from pipeline.models.windows import Windows
from pipeline.targets.standardising import Units

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from pipeline.params.fields import Component
WEIGHTS = "model.safetensors"


class Readout(nn.Module):
    """From hidden states to logits: a pooling and a head that reads a vector, or a head that reads tokens.

    The logits of numbers are in the `units` of their targets. In training the logits are the mean of `dropout_samples` passes
    through the head. `layer` is the last one that it reads, `stage` what the sharing of tasks puts before the pooling.

    Source: Inoue, Multi-Sample Dropout for Accelerated Training and Better Generalization, 2019,
    https://arxiv.org/abs/1905.09788 (which averages the losses).
    """

    dropout_samples = 1
    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(
        self, pooling: nn.Module | None, head: nn.Module, spec: dict[str, Any], window_pooling: nn.Module | None = None,
        stage: nn.Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stage = stage
        self.layer: int | None = spec.get("layer")
        self.pooling = pooling
        self.window_pooling = window_pooling
        self.head = head
        self.spec = spec
        self.window: int | None = (spec.get("window") or {}).get("size")
        self.reads_vector = components.constant("heads", spec["head"][0], "READS") == "vector"
        self.in_units = "units" in spec
        for name in ("mean", "deviation") if self.in_units else ():
            numbers = torch.tensor(spec["units"][name], dtype=torch.float32).reshape(spec["n_outputs"])
            self.register_buffer(name, numbers, persistent=False)

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(hidden_states, attention_mask), attention_mask)  # (B, C)

    def features(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        """Return what the head reads: a pooled vector (B, H), the last states (B, T, H), or a vector per window (B, W, H)."""
        if self.layer is not None:
            hidden_states = hidden_states[: self.layer + 1]
        if self.stage is not None:
            hidden_states = self.stage(hidden_states, attention_mask)
        if self.pooling is None:
            return hidden_states[-1]
        if self.window is None:
            pooled: torch.Tensor = self.pooling(hidden_states, attention_mask)
            return pooled
        windows = Windows.of(attention_mask, self.window)
        of_windows = self.pooling(tuple(windows.cut(states) for states in hidden_states), windows.cut(attention_mask))
        vectors = windows.listed(of_windows)  # (B, W, H)
        return vectors if self.window_pooling is None else self.window_pooling((vectors,), windows.filled.long())

    def feature_mask(self, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return which of the features (B, T, H) or (B, W, H) are not empty, given the mask (B, T) of the tokens."""
        if self.pooling is None or self.window is None:
            return attention_mask
        return Windows.of(attention_mask, self.window).filled.long()

    def classify(self, features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits (B, C) for what the head reads."""
        inputs = (features,) if self.reads_vector else (features, self.feature_mask(attention_mask))
        n_samples = self.dropout_samples if self.training else 1
        logits = torch.stack([self.head(*inputs) for _ in range(n_samples)]).mean(dim=0)
        return logits * self.deviation + self.mean if self.in_units else logits


class TextClassifier(nn.Module):
    """A backbone and a readout: a `Readout`, or what stands in its place and takes the same states and mask."""

    backbone: "PreTrainedModel"
    readout: nn.Module

    def __init__(self, backbone: "PreTrainedModel", readout: nn.Module) -> None:
        super().__init__()
        self.window: int | None = getattr(readout, "window", None)
        self.windows: Windows | None = None
        self.backbone = backbone
        self.readout = readout
        self.accepted = frozenset(inspect.signature(backbone.forward).parameters)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return logits (B, C) for a batch of `input_ids`, `attention_mask` and `token_type_ids` (B, T)."""
        logits: torch.Tensor = self.readout(self.hidden_states(batch), batch["attention_mask"])  # (B, C)
        return logits

    def hidden_states(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Return the states of the embeddings and of each layer, (L + 1) x (B, T, H)."""
        inputs: dict[str, Any] = {name: tensor for name, tensor in batch.items() if name in self.accepted}
        self.windows = None if self.window is None else Windows.of(batch["attention_mask"], self.window)
        if self.windows is not None:
            inputs = {name: self.windows.cut(tensor) for name, tensor in inputs.items()}
        if "use_cache" in self.accepted:  # decoders would keep keys and values for a next token that nobody asks for
            inputs["use_cache"] = False
        of_layers: tuple[torch.Tensor, ...] = self.backbone(**inputs, output_hidden_states=True).hidden_states
        halved = of_layers[0].dtype in (torch.float16, torch.bfloat16)  # of a frozen encoder: what learns reads floats
        states = tuple(of_layer.float() for of_layer in of_layers) if halved else of_layers
        return states if self.windows is None else tuple(self.windows.join(of_layer) for of_layer in states)

    @contextmanager
    def changed_embeddings(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """Let a function change the vectors (B, T, E) of the tokens within the block, before positions are added.

        A hook rather than `inputs_embeds`: some families find positions or padding by the ids, some take no vectors.
        """
        embedding = input_embedding(self.backbone)

        def changed(module: nn.Module, inputs: Any, vectors: torch.Tensor) -> torch.Tensor:
            windows = self.windows
            return change(vectors) if windows is None else windows.cut(change(windows.join(vectors)))

        handle = embedding.register_forward_hook(changed)
        try:
            yield
        finally:
            handle.remove()


def build_classifier(
    parts: EncoderParts,
    *,
    pooling: "Component | None",
    head: "Component",
    n_outputs: int,
    seed: int,
    window: int | None = None,
    window_pooling: "Component | None" = None,
    units: Units | None = None,
    layer: int | None = None,
    stage: "Component | None" = None,
) -> TextClassifier:
    """Put a new readout, a function of the seed, on an encoder, which reads long rows in windows of so many tokens.

    `layer` is the last one that the readout reads, None all; `stage` a way of sharing that has something to put before it.
    """
    torch.manual_seed(seed)
    spec: dict[str, Any] = {"head": [head.name, head.options], "pooling": _described(pooling)}
    if window is not None:
        spec["window"] = {"size": window, "pooling": _described(window_pooling)}
    if units is not None:
        spec["units"] = units
    if layer is not None:
        spec["layer"] = layer
    if stage is not None:
        spec["stage"] = _described(stage)
    return _classifier(parts.model, spec, n_outputs)


def _described(component: "Component | None") -> list[Any] | None:
    return None if component is None else [component.name, component.options]


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
    """Return a readout with new weights from its description: `pooling` and `head`, each a name and options, or None.

    `window`, where there is one, has its `size` and the `pooling` of windows, which a head that reads tokens does without;
    `units`, where there are, the `mean` and `deviation` of each output; `layer` and `stage` are as `build_classifier` says.

    Raises:
        ParamsError: if the encoder has no such layer.
    """
    if (layer := spec.get("layer")) is not None:
        if layer > n_layers:
            raise ParamsError(f"layer: must be at most {n_layers}, the layers of the encoder, got {layer}. Lower it.")
        n_layers = layer
    pooling = _pooling(spec["pooling"], hidden_size, n_layers)
    width = getattr(pooling, "output_size", hidden_size)
    name, options = spec["head"]
    over_windows = (
        (spec.get("window") or {}).get("pooling") if components.constant("heads", name, "READS") == "vector" else None
    )
    window_pooling = _pooling(over_windows, width, 0)
    input_size = getattr(window_pooling, "output_size", width)
    head = components.build("heads", name, options, input_size=input_size, n_outputs=n_outputs)
    stage = None
    if spec.get("stage"):
        way, given = spec["stage"]
        offered = {**components.defaults("sharing", way), **given, "hidden_size": hidden_size, "n_layers": n_layers}
        stage = components.call("sharing", way, "stage", **offered)
    return Readout(pooling, head, {**spec, "n_outputs": n_outputs}, window_pooling, stage)


def _pooling(described: list[Any] | None, hidden_size: int, n_layers: int) -> nn.Module | None:
    if described is None:
        return None
    name, options = described
    pooling: nn.Module = components.build("poolings", name, options, hidden_size=hidden_size, n_layers=n_layers)
    return pooling


def save_classifier(model: TextClassifier, tokenizer: "PreTrainedTokenizerFast", folder: Path, *, source: str) -> None:
    """Write weights (safetensors), configuration, tokenizer and readout into a folder.

    `source` is the component of `encoders/` that made the backbone and can restore it. Of an adapted encoder the weights are
    those of adapter and readout: the base is only named.
    """
    save_model(model, str(folder / WEIGHTS))
    model.backbone.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    adapter = {} if (description := description_of(model.backbone)) is None else {ADAPTER: description}
    spec = {"source": source, **adapter, **cast("Readout", model.readout).spec}
    (folder / READOUT).write_text(json.dumps(spec, indent=1), encoding="utf-8")


def restore_parts(folder: Path, *, mergeable: bool = False) -> EncoderParts:
    """Return encoder and tokenizer of a saved classifier, what it learnt still to be loaded.

    Raises:
        MachineError: if the base of its adapter is missing, or another one.
    """
    spec = json.loads((folder / READOUT).read_text(encoding="utf-8"))
    if (description := spec.get(ADAPTER)) is None:
        parts: EncoderParts = components.load("encoders", spec["source"], "restore")(folder=folder)
        return parts
    base = load_base(folder, description, mergeable=mergeable)
    adapt_as(encoder_half(base.model), description)
    return base


def load_classifier(folder: Path, *, merged: bool = False) -> tuple[TextClassifier, "PreTrainedTokenizerFast"]:
    """Load what `save_classifier` wrote; with `merged` an adapter becomes part of its encoder's weights, in float32."""
    spec = json.loads((folder / READOUT).read_text(encoding="utf-8"))
    parts = restore_parts(folder, mergeable=merged)
    adapted = spec.pop(ADAPTER, None)
    del spec["source"]
    model = _classifier(parts.model, spec, spec["n_outputs"])
    load_model(model, str(folder / WEIGHTS))
    if merged and adapted:
        merge(model.backbone)
    return model.eval(), parts.tokenizer
