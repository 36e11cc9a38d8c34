"""What accompanies each step of a fold's training, by its settings: a way to the gradient, and hooks."""

from typing import Any

from pipeline.params.encoders import Training
from pipeline.training.perturbing import FromEpoch
from pipeline.training_contracts import Hook


def plug_ins(settings: Training) -> dict[str, Any]:
    """Return the arguments `gradient` and `hooks` of `train`; nothing where nothing is switched on."""
    hooks: list[Hook] = []
    plugged: dict[str, Any] = {"hooks": hooks}
    if settings.adversarial is not None:
        way = FromEpoch(settings.adversarial.build(), epoch=settings.adversarial_start_epoch, epochs=settings.epochs)
        hooks.append(way)
        plugged["gradient"] = way
    return plugged
