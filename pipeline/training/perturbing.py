"""What adversarial ways to the gradient share: what they move, how far, and that all of it goes back to its place.

Two things can be moved: weights, and the vectors of the tokens that a model reads. A pass is one over all micro-batches of a
step, so how a step is cut changes nothing; dropout is the same in every pass.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Literal, Protocol

import torch
from torch import nn

from pipeline.errors.exceptions import ParamsError
from pipeline.models.classifier import input_embedding
from pipeline.training.gradient import accumulate, plain
from pipeline.training_contracts import Gradient, TrainingStep


class Perturbation(Protocol):
    """Tensors that move while gradients are taken."""

    def accumulate(self, step: TrainingStep) -> dict[str, float]:
        """Add the gradient of a step's losses where the tensors now are, to the model's and to theirs; return the losses."""

    def move(self, size: float, *, within: float) -> None:
        """Move each tensor so far along its gradient, but no further than `within` from its place."""


def unit(gradient: torch.Tensor, *, by_row: bool) -> torch.Tensor:
    """Return a gradient at length 1, of each row (B, ...) or all of it; zeros where it is not finite.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), by_row=True).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    norm = length(gradient, by_row=by_row)
    # A gradient that is not finite is the loop's business, or with fp16 the scaler's: nothing moves along it.
    return torch.where((norm > 0) & norm.isfinite(), gradient / norm, 0.0)


def length(tensor: torch.Tensor, *, by_row: bool) -> torch.Tensor:
    """Return the Euclidean norm of each row, in a shape that divides the tensor (B, ...), or of all of it."""
    return (
        torch.linalg.vector_norm(tensor, dim=tuple(range(1, tensor.dim())), keepdim=True) if by_row else tensor.norm()
    )


def pulled_back(offset: torch.Tensor, *, within: float | torch.Tensor, by_row: bool) -> torch.Tensor:
    """Return an offset, or each of its rows, no longer than `within`."""
    norm = length(offset, by_row=by_row)
    return torch.where(norm > within, offset * (within / norm), offset)


class Weights:
    """Weights of the model that move within the block, each tensor by itself, and are put back bit for bit at its end.

    `relative`: distances are shares of each tensor's own length.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, relative: bool = False) -> None:
        self.parameters, self.relative = list(parameters), relative
        self.places: list[torch.Tensor] = []

    def accumulate(self, step: TrainingStep) -> dict[str, float]:
        """See `Perturbation`."""
        return accumulate(step, step.losses)

    def move(self, size: float, *, within: float) -> None:
        """See `Perturbation`."""
        with torch.no_grad():
            for parameter, place in zip(self.parameters, self.places, strict=True):
                if parameter.grad is None:
                    continue
                scale = length(place, by_row=False) if self.relative else 1.0
                offset = parameter - place + size * scale * unit(parameter.grad, by_row=False)
                parameter.copy_(place + pulled_back(offset, within=within * scale, by_row=False))

    def __enter__(self) -> "Weights":
        self.places = [parameter.detach().clone() for parameter in self.parameters]
        return self

    def __exit__(self, *error: object) -> None:
        with torch.no_grad():
            for parameter, place in zip(self.parameters, self.places, strict=True):
                parameter.copy_(place)


class TokenVectors:
    """What is added to the vectors (B, T, E) of a step's tokens: zeros, or noise of length `noise`, until it is moved.

    Each pass of a micro-batch through the embeddings has its own, each row of it is moved by itself; padding stays.
    """

    def __init__(self, model: Any, *, noise: float = 0.0) -> None:
        self.model, self.noise = model, noise
        self.offsets: dict[tuple[int, int], torch.Tensor] = {}

    def __enter__(self) -> "TokenVectors":
        return self

    def __exit__(self, *error: object) -> None:
        self.offsets = {}

    def accumulate(self, step: TrainingStep, *, share: float = 1.0) -> dict[str, float]:
        """See `Perturbation`; a share of the losses."""

        def losses(number: int) -> dict[str, torch.Tensor]:
            return {name: share * loss for name, loss in self.during(step, number, step.losses).items()}

        return accumulate(step, losses)

    def during(self, step: TrainingStep, number: int, run: Callable[[int], Any]) -> Any:
        """Return what `run` gives for a micro-batch whose token vectors are offset."""
        passes, mask = count(), step.batches[number].get("attention_mask")

        def offset(vectors: torch.Tensor) -> torch.Tensor:
            place = number, next(passes)
            if place not in self.offsets:
                self.offsets[place] = self._start(vectors, mask).requires_grad_()
            return vectors + self.offsets[place].to(vectors.dtype)

        with self.model.changed_embeddings(offset):
            return run(number)

    def move(self, size: float, *, within: float) -> None:
        """See `Perturbation`; the gradients are used up."""
        for place, offset in self.offsets.items():
            if offset.grad is None:  # a pass without gradients, such as of the originals of unlabelled rows
                continue
            moved = offset.detach() + size * unit(offset.grad, by_row=True)
            self.offsets[place] = pulled_back(moved, within=within, by_row=True).requires_grad_()

    def _start(self, vectors: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        dtype = torch.promote_types(vectors.dtype, torch.float32)
        if not self.noise:
            return torch.zeros(vectors.shape, dtype=dtype, device=vectors.device)
        # A generator of its own, seeded as dropout is: drawing from torch's would change the dropout of this pass alone.
        generator = torch.Generator().manual_seed(torch.initial_seed() % 2**63)
        drawn = torch.rand(vectors.shape, generator=generator) * 2 - 1
        if mask is not None and mask.shape == drawn.shape[:2]:
            drawn = drawn * mask.cpu().unsqueeze(-1)
        return self.noise * unit(drawn, by_row=True).to(vectors.device, dtype)


def embeddings_of(model: Any, moves: Literal["weights", "vectors"]) -> Weights | TokenVectors:
    """Return what an attack on the embeddings moves: their weights, or the vectors that they give.

    A model that has no embeddings of its own, as a stitched one, has the vectors that its head reads.

    Raises:
        ParamsError: if there are no embeddings, or their weights do not learn.
    """
    backbone = getattr(model, "backbone", None)
    if moves == "vectors" or backbone is None:
        return TokenVectors(model)
    try:
        weights = list(input_embedding(backbone).parameters())
    except AttributeError as error:
        raise ParamsError(
            f"adversarial: no token embeddings were found in {type(backbone).__name__}. Take one that moves all weights, "
            "or none."
        ) from error
    learning = [weight for weight in weights if weight.requires_grad]
    if not learning:
        raise ParamsError(
            "adversarial: it moves the token embeddings, whose weights are frozen. Let them learn, set its option moves: "
            "vectors, or, if they thaw later, adversarial_start_epoch."
        )
    return Weights(learning)


def check_gradients(moved: Weights | TokenVectors) -> None:
    """Raise an error if what is to be moved got no gradient in the first pass.

    Raises:
        ParamsError: if so.
    """
    tensors: Sequence[torch.Tensor] = moved.parameters if isinstance(moved, Weights) else list(moved.offsets.values())
    if all(tensor.grad is None for tensor in tensors):
        raise ParamsError(
            "adversarial: the loss gives no gradient to what it moves. Take one that moves all weights, or none."
        )


@contextmanager
def gradients_aside(model: nn.Module) -> Iterator[None]:
    """Keep the gradients of a model as they are while others are taken within the block."""
    kept = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient


class FromEpoch:
    """The plain way to the gradient until an epoch, another one from then on: a `Gradient` and a `Hook`."""

    def __init__(self, gradient: Gradient, *, epoch: int, epochs: int) -> None:
        self.gradient, self.epoch, self.epochs = gradient, epoch, epochs
        self.step = self.first = 0  # tried before training begins, it is the other one: what it needs of memory shows

    def __call__(self, model: nn.Module, step: TrainingStep) -> dict[str, float]:
        return (plain if self.step < self.first else self.gradient)(model, step)

    def begin(self, model: nn.Module, *, step: int, n_steps: int, state: dict[str, Any] | None) -> None:
        """Note the step at which the epoch begins."""
        self.step, self.first = step, n_steps // self.epochs * self.epoch

    def after_step(self, step: int) -> None:
        """Note the step."""
        self.step = step

    def weights(self, evaluate: Any) -> None:
        """Leave the weights to others."""

    def state(self) -> dict[str, Any]:
        """Return nothing: the step says all."""
        return {}
