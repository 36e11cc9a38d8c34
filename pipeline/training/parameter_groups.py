"""Which parameters learn at which rate: layer-wise decay, a higher rate for the head, no weight decay on biases and norms.

Source: Howard and Ruder, ULMFiT, 2018, section 3.2 (discriminative rates), https://arxiv.org/abs/1801.06146;
Clark et al., ELECTRA, 2020, appendix B (layer-wise decay), https://arxiv.org/abs/2003.10555
"""

import re
from typing import Any

from torch import nn

from pipeline.errors.exceptions import ParamsError
from pipeline.params.encoders import Training

LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block|blocks|albert_layer_groups)\.(\d+)(?:\.|$)")
# Positions that all layers share (mpnet, deberta-v2) stand below the first one; `mask_emb` is xlnet's.
BELOW = re.compile(r"embed|wte|shared|mask_emb|(?:^|\.)encoder\.(?:relative_attention_bias|LayerNorm)\.")
BESIDE_FIRST = re.compile(r"(?:^|\.)encoder\.conv\.")  # deberta-v2's convolution
MOST_SHOWN = 12  # parts of a module in a message


def parameter_groups(backbone: nn.Module, readout: nn.Module, settings: Training) -> list[dict[str, Any]]:
    """Return optimizer groups with `name`, `params`, `lr` and `weight_decay`; each trainable parameter is in exactly one.

    Their `depth` is 0 for embeddings, that of the readout the largest; `holds_hidden_matrices` is of weights in layers.

    The top layer learns at `learning_rate`, each one below at `layer_decay` times the rate above it, embeddings lowest;
    the readout (pooling and head) at `head_learning_rate`, ten times the learning rate where it is None. A backbone that is
    a `ModuleList` is several encoders, each with its own top.

    Raises:
        ParamsError: if the layers cannot be found and settings ask for them.
    """
    learning_rate, weight_decay = settings.learning_rate, settings.weight_decay
    encoders = list(backbone) if isinstance(backbone, nn.ModuleList) else [backbone]
    tops = [count_layers(encoder, learning=True) for encoder in encoders]
    wants = [name for name, off in (("layer_decay", 1), ("unfreezing_ratio", 0)) if getattr(settings, name) != off]
    for encoder in encoders:
        if wants and any(parameter.requires_grad for parameter in encoder.parameters()):
            check_layers(encoder, wants[0])
    n_layers = max(tops, default=0)
    rates: dict[int, float] = {n_layers + 1: settings.head_learning_rate or 10 * learning_rate}
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    parameters = [
        (n_layers - top + layer_of(name, top), name, parameter)
        for encoder, top in zip(encoders, tops, strict=True)
        for name, parameter in encoder.named_parameters()
    ]
    parameters += [(n_layers + 1, name, parameter) for name, parameter in readout.named_parameters()]
    for depth, full_name, parameter in parameters:
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and "bias" not in full_name  # xlnet and t5 have biases of two dimensions
        rate = rates.setdefault(depth, learning_rate * settings.layer_decay ** (n_layers - depth))
        name = f"depth {depth}, {'decayed' if decays else 'not decayed'}"
        group = {"name": name, "params": [], "lr": rate, "weight_decay": weight_decay if decays else 0.0}
        group |= {"depth": depth, "holds_hidden_matrices": decays and 0 < depth <= n_layers}
        groups.setdefault((depth, decays), group)["params"].append(parameter)
    # A parameter in no group would silently never learn, one in two would learn at two rates.
    _check_complete(groups.values(), backbone, readout)
    return [groups[key] for key in sorted(groups)]


def count_layers(backbone: nn.Module, *, learning: bool = False) -> int:
    """Return the number of layers, 0 where they cannot be found; of those that learn that of the topmost one."""
    named = [name for name, parameter in backbone.named_parameters() if parameter.requires_grad or not learning]
    return max((layer_of(name) for name in named), default=0)


def tree_of(module: nn.Module, depth: int = 2) -> str:
    """Return the names of a module's parts, those of each in brackets.

    >>> tree_of(nn.ModuleDict({"a": nn.Sequential(nn.Linear(1, 1), nn.ReLU()), "b": nn.Linear(1, 1)}))
    'a (0, 1), b'
    """
    parts = list(module.named_children())
    inner = [(name, tree_of(part, depth - 1) if depth > 1 else "") for name, part in parts[:MOST_SHOWN]]
    shown = [f"{name} ({inside})" if inside else name for name, inside in inner]
    return ", ".join([*shown, *([f"and {len(parts) - MOST_SHOWN} more"] if len(parts) > MOST_SHOWN else [])])


def layer_of(name: str, n_layers: int = 0) -> int:
    """Return a parameter's depth: 0 for embeddings, 1 for the first layer; what follows the layers counts as the top one.

    >>> [layer_of(name, 6) for name in ("embeddings.word.weight", "encoder.layer.0.dense.bias", "pooler.dense.weight")]
    [0, 1, 6]
    """
    match = LAYER.search(name)
    if match:
        return int(match.group(1)) + 1
    if BELOW.search(name):
        return 0
    return min(1, n_layers) if BESIDE_FIRST.search(name) else n_layers


def layers_of(backbone: nn.Module, key: str) -> list[nn.Module]:
    """Return a model's layers, the lowest first; `key` of params.yaml asks for them (see `check_layers`)."""
    matches = ((LAYER.search(name), name, module) for name, module in backbone.named_modules())
    layers = [module for match, name, module in matches if match and match.end() == len(name)]
    if not layers:
        check_layers(backbone, key)
    return layers


def check_layers(backbone: nn.Module, key: str) -> None:
    """Raise an error that shows the module tree if layers that a key of params.yaml asks for cannot be found.

    Raises:
        ParamsError: unless the model's configuration says that it has none.
    """
    model = getattr(backbone, "backbone", backbone)
    if count_layers(backbone) or getattr(getattr(model, "config", None), "num_hidden_layers", None) == 0:
        return
    raise ParamsError(
        f"{key}: layers must be found by their names, got none in {type(model).__name__}. Its modules are: "
        f"{tree_of(model)}. Remove the key for this encoder.",
        code="E203",
    )


def _check_complete(groups: Any, backbone: nn.Module, readout: nn.Module) -> None:
    placed = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = {id(p) for module in (backbone, readout) for p in module.parameters() if p.requires_grad}
    if len(placed) != len(set(placed)) or set(placed) != trainable:
        raise ValueError("parameter groups: every trainable parameter must be in exactly one group.")
