"""AWP: the gradient is taken where all weights have moved along theirs, each as far as a share of its own length.

Source: Wu et al., Adversarial Weight Perturbation Helps Robust Generalization, 2020, section 4,
https://arxiv.org/abs/2004.05884
Differs from the paper: the inputs are not moved. Biases and norms stay, as in the paper.
"""

from typing import Annotated

from pydantic import Field
from torch import nn

from pipeline.training.perturbing import Weights, check_gradients, gradients_aside
from pipeline.training_contracts import Gradient, TrainingStep


def build(
    *,
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 0.005,
    n_steps: Annotated[int, Field(ge=1)] = 1,
) -> Gradient:
    """Return the way to the gradient. A step costs as much as 1 + `n_steps` plain ones.

    Args:
        epsilon: how far the weights move, as a share of their Euclidean norm.
        n_steps: in how many equal steps.
    """

    def gradient(model: nn.Module, step: TrainingStep) -> dict[str, float]:
        learning = (parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim > 1)
        with Weights(learning, relative=True) as weights:
            for _ in range(n_steps):
                with gradients_aside(model):
                    weights.accumulate(step)
                    check_gradients(weights)
                    weights.move(epsilon / n_steps, within=epsilon)
            return weights.accumulate(step)

    return gradient
