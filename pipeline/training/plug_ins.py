"""What accompanies each step of a fold's training, by its settings: a way to the gradient, and hooks."""

from collections.abc import Sequence
from typing import Any

from pipeline.params.encoders import Training
from pipeline.training.perturbing import FromEpoch
from pipeline.training.thawing import Thaw
from pipeline.training_contracts import Hook


def plug_ins(settings: Training, parameter_groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the arguments `gradient` and `hooks` of `train`; nothing where nothing is switched on."""
    hooks: list[Hook] = []
    plugged: dict[str, Any] = {"hooks": hooks}
    if settings.adversarial is not None:
        way = FromEpoch(settings.adversarial.build(), epoch=settings.adversarial_start_epoch, epochs=settings.epochs)
        hooks.append(way)
        plugged["gradient"] = way
    if settings.unfreezing_ratio:
        hooks.append(Thaw(parameter_groups, ratio=settings.unfreezing_ratio))
    if settings.averaging is not None:
        hooks.append(settings.averaging.build())
    return plugged
