"""Muon: the momentum of hidden matrices made orthogonal, Adam for all else, from pytorch_optimizer.

Source: Jordan et al., Muon, 2024, https://kellerjordan.github.io/posts/muon/; Liu et al., Muon is Scalable for LLM Training,
2025, https://arxiv.org/abs/2502.16982: a matrix's step is scaled to be as large as Adam's, so that adamw's rates serve
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from pytorch_optimizer import Muon

from pipeline.errors.exceptions import ParamsError

LIBRARIES = ("pytorch_optimizer",)


def build(
    *,
    parameter_groups: list[dict[str, Any]],
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95,
    n_iterations: Annotated[int, Field(ge=1)] = 5,
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    epsilon: Annotated[float, Field(gt=0)] = 1e-8,
) -> torch.optim.Optimizer:
    """Return the optimizer; each group brings its `lr`, `weight_decay` and whether it `holds_hidden_matrices`.

    Args:
        parameter_groups: those of the model.
        momentum: of the matrices of hidden layers; embeddings, the readout, biases and norms learn by Adam.
        n_iterations: of Newton and Schulz towards an orthogonal matrix.
        beta1: Adam's.
        beta2: Adam's.
        epsilon: Adam's.

    Raises:
        ParamsError: if the model has no hidden matrix that learns.
    """
    hidden = [bool(group.get("holds_hidden_matrices")) for group in parameter_groups]
    if not any(hidden):
        raise ParamsError("optimizer: muon needs matrices in layers that learn, got a model without. Take adamw.")
    of_adam = {"betas": (beta1, beta2), "eps": epsilon}
    of_muon = {"momentum": momentum, "ns_steps": n_iterations, "use_adjusted_lr": True}
    groups = [
        {**group, "use_muon": is_hidden, **(of_muon if is_hidden else of_adam)}
        for group, is_hidden in zip(parameter_groups, hidden, strict=True)
    ]
    return Muon(groups)
