"""What accompanies each step of a fold's training, by its settings."""

from collections.abc import Sequence
from typing import Any

from pipeline.params.encoders import Training
from pipeline.training.thawing import Thaw
from pipeline.training_contracts import Hook


def plug_ins(settings: Training, parameter_groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return arguments of `train`; nothing where nothing is switched on."""
    hooks: list[Hook] = []
    if settings.unfreezing_ratio:
        hooks.append(Thaw(parameter_groups, ratio=settings.unfreezing_ratio))
    if settings.averaging is not None:
        hooks.append(settings.averaging.build())
    return {"hooks": hooks}
