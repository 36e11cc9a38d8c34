"""Several losses, each times a weight that may change over training: first what learns fast, then what serves the metric."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.errors.exceptions import ParamsError
from pipeline.training.weighted_loss import WeightedLoss

COMPONENTS = {"losses": "losses"}


def build(
    *,
    n_outputs: int,
    labels: Sequence[str],
    targets: np.ndarray,
    losses: list = ["cross_entropy"],  # noqa: B006
    weights: list | None = None,
) -> WeightedLoss:
    """Return the loss (logits (B, C), targets (B, …)) -> losses (B,); each one is logged on its own.

    Args:
        n_outputs: number of outputs C.
        labels: their names.
        targets: of the rows that are trained on.
        losses: components of `losses/`.
        weights: one per loss, 1 unless given: a number, or points `[progress, weight]` between which it goes straight, with
            progress from 0 to 1: `[[0, 1], [0.5, 0]]` fades a loss out over the first half.

    Raises:
        ParamsError: if the weights are not one per loss, or not points in order, or a loss is a sum itself.
    """
    given = [1.0] * len(losses) if weights is None else weights
    if any(loss.constant("COMPONENTS") for loss in losses):
        raise ParamsError("loss.losses: must not be sums themselves. Name their losses here.", code="E203")
    if len(given) != len(losses) or not losses:
        text = f"loss.weights: must be one for each of {len(losses)} losses, got {len(given)}. Correct it."
        raise ParamsError(text, code="E203")
    names = [
        f"{loss.name} {number}" if _is_again(losses, number) else loss.name for number, loss in enumerate(losses, 1)
    ]
    offered: dict[str, Any] = {"n_outputs": n_outputs, "labels": labels, "targets": targets}
    points = [_points(weight) for weight in given]
    return WeightedLoss(names, [loss.build(**offered) for loss in losses], points)


def _is_again(losses: list, number: int) -> bool:
    return losses[number - 1].name in [loss.name for loss in losses[: number - 1]]


def _points(weight: Any) -> list[tuple[float, float]]:
    points = weight if isinstance(weight, list) else [[0, weight]]
    is_right = bool(points) and all(isinstance(point, list) and len(point) == 2 for point in points)
    numbers = [value for point in points for value in point] if is_right else []
    is_right = is_right and all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers)
    if is_right:
        places, values = numbers[::2], numbers[1::2]
        is_right = places == sorted(set(places)) and places[0] >= 0 and places[-1] <= 1 and min(values) >= 0
    if not is_right:
        raise ParamsError(
            f"loss.weights: must be a number of at least 0, or points [progress, weight] with progress rising in [0, 1], "
            f"got {weight!r}. Write [[0, 1], [0.5, 0]] to fade a loss out over the first half.",
            code="E203",
        )  # fmt: skip
    return list(zip(places, values, strict=True))
