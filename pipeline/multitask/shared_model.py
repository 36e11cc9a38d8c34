"""The models of several tasks as one: a `TextClassifier` per task, over an encoder that they share or one of each.

Parts stand once in the state, whoever shares them; each task's classifier saves and predicts by itself, like any other.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from pipeline.models.classifier import TextClassifier

if TYPE_CHECKING:
    from pipeline.training_contracts import Penalty

    Batch = dict[str, torch.Tensor]


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
        self.backbones = nn.ModuleList(backbones.values())
        self.readouts = nn.ModuleList(classifier.readout for classifier in classifiers.values())

    def forward(self, batch: "Batch") -> torch.Tensor:
        """Refuse: only the classifier of a task knows what to make of a batch."""
        raise TypeError("a shared model has no outputs of its own: call the classifier of a task.")
