"""FGM: one step of the token embeddings along their gradient, whose gradient is added to the plain one.

Source: Miyato et al., Adversarial Training Methods for Semi-Supervised Text Classification, 2017, section 3,
https://arxiv.org/abs/1605.07725
Differs from the paper: with `moves: weights` the whole table of embeddings is moved at once, as competitors do, which is not
normalised; with `vectors` each row's, as in the paper. No unlabelled rows.
"""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.training.adversarial import pgd
from pipeline.training_contracts import Gradient

MOVES = {"moves": "weights"}  # with this option it moves weights of the embeddings


def build(
    *, epsilon: Annotated[float, Field(gt=0)] = 1.0, moves: Literal["weights", "vectors"] = "weights"
) -> Gradient:
    """Return the way to the gradient. A step costs as much as two plain ones.

    Args:
        epsilon: how far it moves, as a Euclidean norm.
        moves: the weights of the embeddings, or the vectors that they give, each row of a batch by itself.
    """
    return pgd.build(n_steps=1, step_size=epsilon, epsilon=epsilon, moves=moves)
