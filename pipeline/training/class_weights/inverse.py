"""Each class weighs as much as another, however many rows it has: the inverse of its share of the rows.

Source: King and Zeng, Logistic Regression in Rare Events Data, 2001; scikit-learn calls it `balanced`
"""

from collections.abc import Sequence

FORMS = ("class",)


def build(*, counts: Sequence[int]) -> list[float]:
    """Return the weights (C,); their mean over the rows is 1. A class without rows has none.

    >>> build(counts=[6, 2])
    [0.6666666666666666, 2.0]
    """
    n_classes = sum(count > 0 for count in counts)
    return [sum(counts) / (n_classes * count) if count else 0.0 for count in counts]
