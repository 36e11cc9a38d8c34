"""Classes weigh what params.yaml says."""

from collections.abc import Sequence

from pipeline.errors.exceptions import ParamsError, expected

FORMS = ("class",)
NAMES_LABELS = "weights"


def build(*, labels: Sequence[str], weights: dict = {}) -> list[float]:  # noqa: B006
    """Return the weights (C,), 1 for a class that is not named.

    >>> build(labels=["calm", "angry"], weights={"angry": 2})
    [1.0, 2.0]

    Raises:
        ParamsError: if a label does not exist, or a weight is not above 0.
    """
    for label, weight in weights.items():
        if label not in labels:
            raise ParamsError(f"class_weights: {expected(label, labels)}", code="E203")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
            text = f"class_weights.{label}: must be a number above 0, got {weight!r}. Correct it."
            raise ParamsError(text, code="E203")
    return [float(weights.get(label, 1)) for label in labels]
