"""The models of several tasks as one: a `TextClassifier` per task, over an encoder that they share or one of each.

Parts stand once in the state, whoever shares them; each task's classifier saves and predicts by itself, like any other.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import nn

from pipeline.models.classifier import TextClassifier, input_embedding

if TYPE_CHECKING:
    from pipeline.training_contracts import Penalty

    Batch = dict[str, torch.Tensor]


def _embeddings(backbones: "Backbones") -> nn.ModuleList:
    return nn.ModuleList(input_embedding(backbone) for backbone in backbones)  # type: ignore[arg-type]


class Backbones(nn.ModuleList):
    """All encoders of a model, each once; their embeddings are what adversarial training moves."""

    # Bound, not defined: recipes follow every class that defines a method into all code that calls one of its name.
    get_input_embeddings = _embeddings


class SharedModel(nn.Module):
    """One classifier per task, and what ties them together.

    Args:
        classifiers: by task; those that share an encoder hold the same module.
        penalty: of the way of sharing.
        weighting: of the tasks' losses; it learns and is kept with the rest.
    """

    def __init__(self, classifiers: Mapping[str, TextClassifier], penalty: "Penalty", *, weighting: nn.Module) -> None:
        super().__init__()
        self.classifiers = dict(classifiers)  # not registered: a part would stand in the state once per task
        self.penalty, self.weighting = penalty, weighting
        backbones = {id(classifier.backbone): classifier.backbone for classifier in classifiers.values()}
        self.backbones = Backbones(backbones.values())
        self.readouts = nn.ModuleList(classifier.readout for classifier in classifiers.values())
        self.change: Callable[[torch.Tensor], torch.Tensor] | None = None

    @property
    def backbone(self) -> Backbones:
        """Return the encoders, where a `TextClassifier` has its one."""
        return self.backbones

    @contextmanager
    def changed_embeddings(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """Let a function change the vectors of the tokens that any task reads within the block, as `TextClassifier` does."""
        self.change = change
        try:
            yield
        finally:
            self.change = None

    def pass_of(self, task: str) -> AbstractContextManager[None]:
        """Return the block within which a task reads its rows, its vectors changed where they are to be."""
        return nullcontext() if self.change is None else self.classifiers[task].changed_embeddings(self.change)

    def forward(self, batch: "Batch") -> torch.Tensor:
        """Refuse: only the classifier of a task knows what to make of a batch."""
        raise TypeError("a shared model has no outputs of its own: call the classifier of a task.")
