"""Which parameters learn at which rate: layer-wise decay, a higher rate for the head, no weight decay on biases and norms.

Source: Howard and Ruder, ULMFiT, 2018, section 3.2 (discriminative rates), https://arxiv.org/abs/1801.06146;
Clark et al., ELECTRA, 2020, appendix B (layer-wise decay), https://arxiv.org/abs/2003.10555
"""

import re
from typing import Any

from torch import nn

from pipeline.params.encoders import Training

LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block|blocks|albert_layer_groups)\.(\d+)\.")


def parameter_groups(backbone: nn.Module, readout: nn.Module, settings: Training) -> list[dict[str, Any]]:
    """Return optimizer groups with `name`, `params`, `lr` and `weight_decay`; each trainable parameter is in exactly one.

    The top layer learns at `learning_rate`, each one below at `layer_decay` times the rate above it, embeddings lowest;
    the readout (pooling and head) at `head_learning_rate`, ten times the learning rate where it is None.
    """
    learning_rate, weight_decay = settings.learning_rate, settings.weight_decay
    names = [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    n_layers = max((layer_of(name) for name in names), default=0)
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
        group["holds_hidden_matrices"] = decays and 0 < depth <= n_layers
        groups.setdefault((depth, decays), group)["params"].append(parameter)
    # A parameter in no group would silently never learn, one in two would learn at two rates.
    _check_complete(groups.values(), backbone, readout)
    return [groups[key] for key in sorted(groups)]


def layer_of(name: str, n_layers: int = 0) -> int:
    """Return a parameter's depth: 0 for embeddings, 1 for the first layer; what follows the layers counts as the top one.

    >>> [layer_of(name, 6) for name in ("embeddings.word.weight", "encoder.layer.0.dense.bias", "pooler.dense.weight")]
    [0, 1, 6]
    """
    match = LAYER.search(name)
    if match:
        return int(match.group(1)) + 1
    return 0 if "embed" in name or "wte" in name or "shared" in name else n_layers


def _check_complete(groups: Any, backbone: nn.Module, readout: nn.Module) -> None:
    placed = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = {id(p) for module in (backbone, readout) for p in module.parameters() if p.requires_grad}
    if len(placed) != len(set(placed)) or set(placed) != trainable:
        raise ValueError("parameter groups: every trainable parameter must be in exactly one group.")
