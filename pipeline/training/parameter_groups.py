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
TREE_DEPTH, TREE_LINES = 3, 30


def parameter_groups(backbone: nn.Module, readout: nn.Module, settings: Training) -> list[dict[str, Any]]:
    """Return optimizer groups with `name`, `params`, `lr` and `weight_decay`; each trainable parameter is in exactly one.

    The top layer learns at `learning_rate`, each one below at `layer_decay` times the rate above it, embeddings lowest;
    the readout (pooling and head) at `head_learning_rate`, ten times the learning rate where it is None. A backbone that is
    a `ModuleList` is several encoders, each with its own top.

    Raises:
        ParamsError: if `layer_decay` is not 1 and the layers cannot be found.
    """
    learning_rate, weight_decay = settings.learning_rate, settings.weight_decay
    encoders = list(backbone) if isinstance(backbone, nn.ModuleList) else [backbone]
    tops = [max((layer_of(name) for name, _ in encoder.named_parameters()), default=0) for encoder in encoders]
    for encoder, top in zip(encoders, tops, strict=True):
        if settings.layer_decay != 1 and top == 0:
            check_layerless(encoder)
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
    if BELOW.search(name):
        return 0
    return min(1, n_layers) if BESIDE_FIRST.search(name) else n_layers


def layers_of(backbone: nn.Module) -> list[nn.Module]:
    """Return a model's layers, the lowest first.

    Raises:
        ParamsError: if there are none to be found.
    """
    matches = ((LAYER.search(name), name, module) for name, module in backbone.named_modules())
    layers = [module for match, name, module in matches if match and match.end() == len(name)]
    if not layers:
        check_layerless(backbone)
    return layers


def check_layerless(backbone: Any) -> None:
    """Raise an error that shows the module tree, unless a model in which no layers were found has none.

    Raises:
        ParamsError: if its configuration speaks of layers.
    """
    model = getattr(backbone, "backbone", backbone)
    if getattr(getattr(model, "config", None), "num_hidden_layers", None) == 0:
        return
    tree = [
        f"{'  ' * name.count('.')}{name.rpartition('.')[2]}: {type(module).__name__}"
        for name, module in model.named_modules()
        if name and name.count(".") < TREE_DEPTH
    ]
    more = [f"and {len(tree) - TREE_LINES} more"] if len(tree) > TREE_LINES else []
    shown = "\n".join([*tree[:TREE_LINES], *more])
    raise ParamsError(
        f"layer_decay, reinit_layers: must have layers, which were not found in {type(model).__name__} by any of the names "
        f"layer, layers, h, block, blocks with a number. Set layer_decay: 1 and reinit_layers: 0. Its modules:\n{shown}"
    )


def _check_complete(groups: Any, backbone: nn.Module, readout: nn.Module) -> None:
    placed = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = {id(p) for module in (backbone, readout) for p in module.parameters() if p.requires_grad}
    if len(placed) != len(set(placed)) or set(placed) != trainable:
        raise ValueError("parameter groups: every trainable parameter must be in exactly one group.")
