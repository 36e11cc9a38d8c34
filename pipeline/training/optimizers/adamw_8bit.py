"""AdamW that keeps its two states of hidden matrices in 8 bits, in blocks of 256 weights, from bitsandbytes.

Source: Dettmers et al., 8-bit Optimizers via Block-wise Quantization, 2022, https://arxiv.org/abs/2110.02861
As there, embeddings keep 32 bits, without which training is unstable; so do the head, and what has few weights.
"""

import logging
from typing import Annotated, Any

import torch
from pydantic import Field

from pipeline.errors.exceptions import ParamsError

LIBRARIES = ("bitsandbytes",)


def build(
    *,
    parameter_groups: list[dict[str, Any]],
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    epsilon: Annotated[float, Field(gt=0)] = 1e-8,
    min_8bit_size: Annotated[int, Field(ge=1)] = 4096,
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr`, `weight_decay` and whether it `holds_hidden_matrices`.

    Args:
        parameter_groups: those of the model.
        beta1, beta2: decay of the mean and of the squares.
        epsilon: added to the root of the squares.
        min_8bit_size: weights of a tensor from which its states have 8 bits.

    Raises:
        ParamsError: if bitsandbytes does not run here.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of kernels that optimizers do not use
    try:
        from bitsandbytes.optim import AdamW8bit
    except (ImportError, OSError, RuntimeError) as error:  # a build for another device
        text = f"optimizer: adamw_8bit needs a bitsandbytes that runs here, got {error}. Mend it, or take adamw."
        raise ParamsError(text, code="E204") from error

    class HiddenIn8Bits(AdamW8bit):
        def get_config(self, gindex: int, pindex: int, group: dict[str, Any]) -> dict[str, Any]:
            bits = 8 if group.get("holds_hidden_matrices", True) else 32
            return {**super().get_config(gindex, pindex, group), "optim_bits": bits}

    options: dict[str, Any] = {"betas": (beta1, beta2), "eps": epsilon, "min_8bit_size": min_8bit_size}
    optimizer: torch.optim.Optimizer = HiddenIn8Bits(parameter_groups, **options)
    return optimizer
