"""FreeLB: token vectors that go several steps along their gradient, and the mean of the gradients met on the way.

Source: Zhu et al., FreeLB: Enhanced Adversarial Training for Natural Language Understanding, 2020, algorithm 1,
https://arxiv.org/abs/1909.11764
Differs from the paper: it starts at noise of a fixed length in a random direction, not of a length that varies.
"""

from typing import Annotated

from pydantic import Field
from torch import nn

from pipeline.training.perturbing import TokenVectors
from pipeline.training_contracts import Gradient, TrainingStep

OF_ONE_TASK = "batches"  # it begins at noise over a batch's tokens, which must not lie on padding


def build(
    *,
    n_steps: Annotated[int, Field(ge=1)] = 3,
    step_size: Annotated[float, Field(gt=0)] = 0.1,
    noise: Annotated[float, Field(ge=0)] = 0.1,
    epsilon: Annotated[float, Field(gt=0)] = 0.6,
) -> Gradient:
    """Return the way to the gradient. A step costs as much as `n_steps` plain ones.

    Args:
        n_steps: how many gradients are taken.
        step_size: how far a row's vectors move each time, as a Euclidean norm.
        noise: how far from their place they start.
        epsilon: how far from it at most.
    """

    def gradient(model: nn.Module, step: TrainingStep) -> dict[str, float]:
        vectors = TokenVectors(model, noise=min(noise, epsilon))
        totals: dict[str, float] = {}
        for _ in range(n_steps):
            for name, loss in vectors.accumulate(step, share=1 / n_steps).items():
                totals[name] = totals.get(name, 0.0) + loss
            vectors.move(step_size, within=epsilon)
        return totals

    return gradient
