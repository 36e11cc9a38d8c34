"""PGD: several steps of the token embeddings along their gradient within a ball; the last one's gradient is added.

Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018, section 2,
https://arxiv.org/abs/1706.06083
Differs from the paper: the gradient of the unmoved embeddings is added, as competitors do; it starts where they are.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from pipeline.training.perturbing import check_gradients, embeddings_of, gradients_aside
from pipeline.training_contracts import Gradient, TrainingStep

MOVES = {"moves": "weights"}  # with this option it moves weights of the embeddings


def build(
    *,
    n_steps: Annotated[int, Field(ge=1)] = 3,
    step_size: Annotated[float, Field(gt=0)] = 0.3,
    epsilon: Annotated[float, Field(gt=0)] = 1.0,
    moves: Literal["weights", "vectors"] = "weights",
) -> Gradient:
    """Return the way to the gradient. A step costs as much as 1 + `n_steps` plain ones.

    Args:
        n_steps: how often it moves.
        step_size: how far each time, as a Euclidean norm.
        epsilon: how far from its place at most.
        moves: the weights of the embeddings, or the vectors that they give, each row of a batch by itself.
    """

    def gradient(model: nn.Module, step: TrainingStep) -> dict[str, float]:
        with embeddings_of(model, moves) as embeddings:
            losses = embeddings.accumulate(step)
            check_gradients(embeddings)
            embeddings.move(step_size, within=epsilon)
            for _ in range(n_steps - 1):
                with gradients_aside(model):
                    embeddings.accumulate(step)
                    embeddings.move(step_size, within=epsilon)
            return {**losses, "adversarial": sum(embeddings.accumulate(step).values())}

    return gradient
