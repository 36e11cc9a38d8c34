"""Smoothness: what is predicted must not change where token vectors move a little, in the direction that changes it most.

Source: Jiang et al., SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural Language Models, 2020, section 3.1,
https://arxiv.org/abs/1911.03437
Differs from the paper: the regulariser alone, without the proximal point method; the ball is Euclidean, of each row.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from pipeline.training.divergences import symmetric_kl
from pipeline.training.gradient import accumulate
from pipeline.training.perturbing import TokenVectors, gradients_aside
from pipeline.training_contracts import Gradient, TrainingStep

FORMS = ("class",)
OF_ONE_TASK = "model"  # it compares what a model gives


def build(
    *,
    weight: Annotated[float, Field(gt=0)] = 1.0,
    n_steps: Annotated[int, Field(ge=1)] = 1,
    step_size: Annotated[float, Field(gt=0)] = 0.1,
    noise: Annotated[float, Field(gt=0)] = 1e-3,
    epsilon: Annotated[float, Field(gt=0)] = 0.1,
) -> Gradient:
    """Return the way to the gradient. A step costs about as much as 3 + `n_steps` plain ones.

    Args:
        weight: of the mean symmetric divergence beside the loss.
        n_steps: how often a row's vectors move.
        step_size: how far each time, as a Euclidean norm.
        noise: how far from their place they start: where they are the divergence has no direction.
        epsilon: how far from it at most.
    """

    def gradient(model: nn.Module, step: TrainingStep) -> dict[str, float]:
        vectors = TokenVectors(model, noise=min(noise, epsilon))
        n_rows = sum(len(batch["labels"]) for batch in step.batches)

        def change(number: int) -> dict[str, torch.Tensor]:
            plain, moved = step.outputs(number), vectors.during(step, number, step.outputs)
            return {"smoothness": weight * symmetric_kl(plain, moved).sum() / n_rows}

        for _ in range(n_steps):
            with gradients_aside(model):
                accumulate(step, change)
                vectors.move(step_size, within=epsilon)
        return accumulate(step, step.losses) | accumulate(step, change)

    return gradient
