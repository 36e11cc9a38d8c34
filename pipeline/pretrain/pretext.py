"""What `pretrain/` offers to its components and wants of them: ways to mask, and pretexts, which say what is learnt of texts.

Shapes: N rows, B rows of a batch, T tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerFast

    from pipeline.training_contracts import Batch, Objective

Span = tuple[int, int]


@dataclass(frozen=True)
class Masking:
    """What is masked together: units, and runs of them.

    `spans` gives the characters [start, end) of each unit of a text; None: each token is a unit. `survival` says by n which
    share of the runs is longer than n units, from 1.0 for n = 0 on, never rising; none is longer than its length.
    """

    spans: Callable[[str], list[Span]] | None = None
    survival: Sequence[float] = (1.0,)


class BuildMasking(Protocol):
    """`masking/`: which tokens are masked together. Offsets decide, never how a tokenizer marks its pieces."""

    def __call__(self) -> Masking: ...


@dataclass(frozen=True)
class Start:
    """From where a pre-training begins.

    `load` takes the name of an `Auto...` class of transformers and returns a model of that form in float32 and which of its
    weights are new: those that the checkpoint lacks, always drawn alike. It raises a ParamsError where the family has no
    such class. `origin` names it in messages; `random` says that all its weights are new.
    """

    tokenizer: "PreTrainedTokenizerFast"
    load: Callable[[str], tuple[Any, list[str]]]
    origin: str
    random: bool = False


class Pretext(Protocol):
    """A task that texts set themselves: the modules that learn it, its rows and losses, how well it is done, what is kept."""

    @property
    def model(self) -> "nn.Module":
        """Return all that learns: the encoder, and heads or a generator beside it."""

    @property
    def notes(self) -> list[str]:
        """Return what whoever reads the results should know, such as that a head is new."""

    def objective(self, texts: Sequence[str], *, seed: int, epoch_of: Callable[[int], int]) -> "Objective":
        """Return N rows of texts, of which none is longer than a row holds, as the training loop takes them.

        What is drawn for a row is a function of the seed, `epoch_of(step)` and the row's number alone, by
        `masks.uniform`: neither the batch, nor a worker, nor a resumed training changes it.
        """

    def score_sums(self, batch: "Batch") -> "dict[str, tuple[torch.Tensor, float]]":
        """Return of a batch of an objective's rows what is measured: sums, 0-d, and over how many items.

        The mean of `loss`, in nats, chooses the epoch, and its exponential is the perplexity; others are shares or losses.
        """

    def save(self, folder: Path) -> None:
        """Write the encoder, and a language model's head if it has one, as transformers does; generators are left."""


class BuildPretext(Protocol):
    """`pretexts/`: what is learnt of texts, a `Pretext`. `mask_ratio` is the share of tokens, or of places, to predict.

    Its file is built in a process that has torch. Modules are drawn from generators seeded by `seed`.
    """

    def __call__(self, *, start: Start, masking: Masking, mask_ratio: float, max_length: int, seed: int) -> Pretext: ...
