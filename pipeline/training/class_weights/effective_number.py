"""Each class weighs by the inverse of its effective number of rows: with many a further one adds little.

Source: Cui et al., Class-Balanced Loss Based on Effective Number of Samples, 2019, eq. 5, https://arxiv.org/abs/1901.05555
Differs from the paper: scaled so that their mean over the rows is 1, not over the classes, which would change the rate.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

FORMS = ("class",)


def build(*, counts: Sequence[int], beta: Annotated[float, Field(ge=0, lt=1)] = 0.999) -> list[float]:
    """Return the weights (C,); beta 0 weighs all alike, near 1 it is the inverse share. A class without rows has none.

    >>> [round(weight, 4) for weight in build(counts=[3, 1], beta=0.5)]
    [0.8421, 1.4737]
    """
    raw = [(1 - beta) / (1 - beta**count) if count else 0.0 for count in counts]
    mean = sum(weight * count for weight, count in zip(raw, counts, strict=True)) / sum(counts)
    return [weight / mean for weight in raw]
