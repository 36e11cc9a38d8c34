"""An encoder that stays as it was pre-trained, with an adapter of few weights that learn in its place.

The frozen base lies on disk once, where its checkpoint lies. The state of an adapted encoder is its adapter alone: so are
checkpoints, averages, and what each fold keeps, which names the base and the digest of its weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import components
from pipeline.contracts import EncoderParts
from pipeline.errors.exceptions import MachineError, ParamsError
from pipeline.model_sources import weights_digest

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from pipeline.params.fields import Component
ADAPTER = "adapter"  # in `READOUT`: see `description_of`
ADAPTED = "adapted"  # the attribute of an encoder that has one


@dataclass(frozen=True)
class _Adapted:
    """What is known of an encoder's adapter, and the hooks that leave its base out of its state."""

    description: dict[str, Any]
    hooks: list[Any]


def adapt(backbone: "PreTrainedModel", adapter: "Component", source: "Component", *, seed: int) -> None:
    """Freeze an encoder that `source` has just loaded and put an adapter into it; `seed` is that of its first weights."""
    base = {"source": [source.name, source.options], "digest": weights_digest(source.call("folder"))}
    adapt_as(backbone, {"adapter": [adapter.name, adapter.options], "base": base}, seed=seed)


def adapt_as(backbone: "PreTrainedModel", description: dict[str, Any], *, seed: int = 0) -> None:
    """Put an adapter into the base that it is of, both as `description_of` says."""
    name, options = description["adapter"]
    components.build("adapters", name, options, model=backbone, seed=seed)
    vars(backbone)[ADAPTED] = _Adapted(description, _leave_out_base(backbone))


def description_of(backbone: "nn.Module") -> dict[str, Any] | None:
    """Return, as JSON, the adapter of an encoder and the base that it is of; None of one without an adapter."""
    adapted: _Adapted | None = vars(backbone).get(ADAPTED)
    return None if adapted is None else adapted.description


def _leave_out_base(backbone: "nn.Module") -> list[Any]:
    """Make the state of a module that of its parameters that learn; such a state loads as if it were whole."""
    learning = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    begin = [""]  # of the module's names in a state that is being loaded

    def of_base(name: str, prefix: str) -> bool:
        return name.startswith(prefix) and name.removeprefix(prefix) not in learning

    def drop(module: "nn.Module", state: dict[str, Any], prefix: str, metadata: Any) -> None:
        for name in [name for name in state if of_base(name, prefix)]:
            del state[name]

    def note(module: "nn.Module", state: Any, prefix: str, *report: Any) -> None:
        begin[0] = prefix

    def excuse(module: "nn.Module", report: Any) -> None:
        report.missing_keys[:] = [name for name in report.missing_keys if not of_base(name, begin[0])]

    handles = [backbone.register_state_dict_post_hook(drop), backbone.register_load_state_dict_pre_hook(note)]
    return [*handles, backbone.register_load_state_dict_post_hook(excuse)]


def load_base(folder: Path, description: Mapping[str, Any], *, mergeable: bool = False) -> EncoderParts:
    """Load the base of the adapter in a fold's folder; with `mergeable` in float32, whatever its weights are.

    Raises:
        MachineError: if the base is missing, or another one.
    """
    if problem := base_problem(description):
        raise MachineError(f"{folder}: {problem}", code="E402")
    name, options = description["base"]["source"]
    parts: EncoderParts = components.build("encoders", name, options, texts=(), max_length=1, seed=0)
    return EncoderParts(in_float32(parts.model), parts.tokenizer) if mergeable else parts


def in_float32(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return a model with its weights in float32, whatever they were frozen as."""
    plain: PreTrainedModel = model.dequantize() if getattr(model, "is_quantized", False) else model
    return plain.float()


def merge(backbone: "PreTrainedModel") -> "PreTrainedModel":
    """Return an encoder of a mergeable base with its adapter added to its weights: an encoder like any other."""
    adapted: _Adapted = vars(backbone).pop(ADAPTED)
    components.call("adapters", adapted.description["adapter"][0], "merge", model=backbone)
    for hook in adapted.hooks:
        hook.remove()
    return backbone


def base_problem(description: Mapping[str, Any]) -> str | None:
    """Return why the base of an adapter is not here, as *what must hold, got what. What to do.*, or None."""
    name, options = description["base"]["source"]
    wanted, got = description["base"]["digest"], "none"
    try:
        every = {**components.defaults("encoders", name), **options}
        folder = components.call("encoders", name, "folder", options=every)
        if folder is not None:
            digest = weights_digest(folder)
            if digest == wanted:
                return None
            got = f"one of digest {digest[:12]}…"
    except ParamsError as error:
        got = f"none ({error})"
    named = ", ".join(str(value) for value in options.values())
    return (
        f"must have the base that its adapter was trained on ({named}, digest {wanted[:12]}…), got {got}. Put that "
        "checkpoint back, or run dvc repro to train on the one that is there."
    )
