"""A fold's models that begin at an encoder which learnt another task first, from the rows that the same fold allows.

Source: Phang et al., Sentence Encoders on STILTs, 2018, https://arxiv.org/abs/1811.01088
"""

from pathlib import Path
from typing import Any

from pipeline import components
from pipeline.base_models.fold_training import train_fold
from pipeline.base_models.shared_training import train_shared
from pipeline.contracts import EncoderParts
from pipeline.model_sources import check_length
from pipeline.models.classifier import encoder_half, load_classifier
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.units.execution import Workspace


class TrainedSource(Component):
    """A source whose encoder, and words, are those of a trained model in a folder; the model's readout is dropped."""

    folder: Path

    def build(self, **offered: Any) -> EncoderParts:
        """Return the encoder at the weights that it was left with.

        Raises:
            ParamsError: if it has fewer positions than the `max_length` that is offered.
        """
        parts: EncoderParts = components.load("encoders", self.name, "restore")(folder=self.folder)
        check_length(offered["max_length"], config=parts.model.config.to_dict(), origin=str(self.folder))
        encoder_half(parts.model).load_state_dict(load_classifier(self.folder)[0].backbone.state_dict())
        return parts


def train_begun(workspace: Workspace, *, first: Path, settings: Encoder, **arguments: Any) -> None:
    """Train one fold's model as `train_fold` does, from the encoder of the model in the folder `first`."""
    train_fold(workspace, settings=_beginning_at(first, settings), **arguments)


def train_shared_begun(workspace: Workspace, *, first: Path, settings: Encoder, **arguments: Any) -> None:
    """Train one fold's model of several tasks as `train_shared` does, from the encoder of the model in the folder `first`."""
    train_shared(workspace, settings=_beginning_at(first, settings), **arguments)


def _beginning_at(folder: Path, settings: Encoder) -> Encoder:
    source = TrainedSource(**settings.source.model_dump(), folder=folder)
    return settings.model_copy(update={"source": source})
