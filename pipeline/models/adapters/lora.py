"""Low-rank adapters: beside a frozen matrix W learn two thin ones, whose product is added: W + alpha / rank x B A.

Source: Hu et al., LoRA, 2021, section 4.1, https://arxiv.org/abs/2106.09685; Kalajdzievski, Rank Stabilization Scaling, 2023
(alpha / sqrt(rank)), https://arxiv.org/abs/2312.03732; Liu et al., DoRA, 2024, eq. 5, https://arxiv.org/abs/2402.09353;
Dettmers et al., QLoRA, 2023 (all linear layers), https://arxiv.org/abs/2305.14314; by the library peft
"""

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from pipeline.errors.exceptions import ParamsError
from pipeline.ranges import Name, PositiveFloat, PositiveInt, Ratio

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LIBRARIES = ("peft",)
EVERY = "all-linear"
PER_LAYER, PER_TARGET = 20, 4  # about the sum of rows and columns, over the width of the states


def build(
    *,
    model: "PreTrainedModel",
    seed: int,
    rank: PositiveInt = 8,
    alpha: PositiveFloat = 16.0,
    targets: Literal["all-linear"] | list[Name] = "all-linear",
    dropout: Ratio = 0.0,
    rslora: bool = False,
    dora: bool = False,
) -> nn.Module:
    """Put adapters into a model in place, so that they alone learn, in float32, and return it; at first they change nothing.

    Args:
        model: whose matrices stay as they are.
        seed: of the first weights: those of A; B begins at 0.
        rank: columns of B, rows of A.
        alpha: how much the product counts, over the rank.
        targets: all linear layers, or the ends of their names, such as `[q_proj, v_proj]`.
        dropout: of what an adapter reads, while training.
        rslora: divide alpha by the root of the rank, so that higher ranks do not learn more slowly.
        dora: learn the length of each row of W by itself.

    Raises:
        ParamsError: if peft is not installed, or targets match no linear layer.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ParamsError(f"adapter: lora needs peft, got {error}. `pip install peft`.", code="E204") from error
    check_targets(model, targets)
    scaling: dict[str, Any] = {"r": rank, "lora_alpha": alpha, "use_rslora": rslora, "use_dora": dora}
    torch.manual_seed(seed)
    inject_adapter_in_model(LoraConfig(target_modules=targets, lora_dropout=dropout, **scaling), model)
    for parameter in model.parameters():
        if parameter.requires_grad:  # made as wide as the base: small steps would be lost in 8 bits of bf16
            parameter.data = parameter.data.float()
    return model


def n_parameters(*, options: dict[str, Any], n_layers: int, width: int) -> int:
    """Return about how many parameters learn in an encoder of so many layers and such states; most families differ little.

    >>> n_parameters(options={"rank": 8, "targets": "all-linear"}, n_layers=28, width=2048)  # Qwen3-1.7B has 8.7 million
    9175040
    """
    per_layer = PER_LAYER if options["targets"] == EVERY else PER_TARGET * len(options["targets"])
    return int(options["rank"] * n_layers * per_layer * width)


def check_targets(model: nn.Module, targets: str | list[str]) -> None:
    """Check that each target is the end of some linear layer's name; peft only asks for one that is.

    Raises:
        ParamsError: if not; it lists the names that there are.
    """
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    wanted = ["" if targets == EVERY else f".{target}" for target in ([EVERY] if targets == EVERY else targets)]
    missing = [end for end in wanted if not any(f".{name}".endswith(end) for name in layers)]
    if missing or not wanted:
        got = ", ".join(end.removeprefix(".") or EVERY for end in missing) or "none"
        there = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in layers)) or "none"
        raise ParamsError(
            f"adapter: targets must be linear layers of {type(model).__name__}, got {got}. There are: {there}. Name some of "
            f"them, or {EVERY}.",
            code="E203",
        )


def merge(*, model: "PreTrainedModel") -> None:
    """Add what was learnt to the frozen weights in place, in float32, and leave a model without adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()  # type: ignore[operator]
            model.set_submodule(name, module.get_base_layer())
