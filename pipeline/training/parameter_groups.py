"""Which parameters learn at which rate: layer-wise decay, a higher rate for the head, no weight decay on biases and norms.

Source: Howard and Ruder, ULMFiT, 2018, section 3.2 (discriminative rates), https://arxiv.org/abs/1801.06146;
Clark et al., ELECTRA, 2020, appendix B (layer-wise decay), https://arxiv.org/abs/2003.10555
"""

import re
from typing import Any

from torch import nn

from pipeline.errors.exceptions import ParamsError
from pipeline.params.encoders import Training

LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block|blocks|albert_layer_groups)\.(\d+)\.")


def parameter_groups(backbone: nn.Module, readout: nn.Module, settings: Training) -> list[dict[str, Any]]:
    """Return optimizer groups with `name`, `params`, `lr` and `weight_decay`; each trainable parameter is in exactly one.

    Their `depth` is 0 for embeddings, that of the readout the largest; `holds_hidden_matrices` is of weights in layers.

    The top layer learns at `learning_rate`, each one below at `layer_decay` times the rate above it, embeddings lowest;
    the readout (pooling and head) at `head_learning_rate`, ten times the learning rate where it is None.

    Raises:
        ParamsError: if the layers cannot be found and settings ask for them.
    """
    learning_rate, weight_decay = settings.learning_rate, settings.weight_decay
    n_layers = count_layers(backbone, learning=True)
    _check_layers(backbone, settings)
    rates: dict[int, float] = {n_layers + 1: settings.head_learning_rate or 10 * learning_rate}
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    parameters = [(layer_of(name, n_layers), name, parameter) for name, parameter in backbone.named_parameters()]
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
    inner = [(name, tree_of(part, depth - 1) if depth > 1 else "") for name, part in module.named_children()]
    return ", ".join(f"{name} ({parts})" if parts else name for name, parts in inner)


def layer_of(name: str, n_layers: int = 0) -> int:
    """Return a parameter's depth: 0 for embeddings, 1 for the first layer; what follows the layers counts as the top one.

    >>> [layer_of(name, 6) for name in ("embeddings.word.weight", "encoder.layer.0.dense.bias", "pooler.dense.weight")]
    [0, 1, 6]
    """
    match = LAYER.search(name)
    if match:
        return int(match.group(1)) + 1
    return 0 if "embed" in name or "wte" in name or "shared" in name else n_layers


def _check_layers(backbone: nn.Module, settings: Training) -> None:
    wants = [name for name, off in (("layer_decay", 1), ("unfreezing_ratio", 0)) if getattr(settings, name) != off]
    if wants and not count_layers(backbone) and any(parameter.requires_grad for parameter in backbone.parameters()):
        raise ParamsError(
            f"{wants[0]}: layers must be found by their names, got none in this encoder. Its modules are: "
            f"{tree_of(backbone)}. Remove the key for this encoder.",
            code="E203",
        )


def _check_complete(groups: Any, backbone: nn.Module, readout: nn.Module) -> None:
    placed = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = {id(p) for module in (backbone, readout) for p in module.parameters() if p.requires_grad}
    if len(placed) != len(set(placed)) or set(placed) != trainable:
        raise ValueError("parameter groups: every trainable parameter must be in exactly one group.")
