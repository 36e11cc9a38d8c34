"""The units of targets that are numbers, learned from the rows that a model is trained on: losses see mean 0, deviation 1."""

import numpy as np

Units = dict[str, list[float]]


def units_of(targets: np.ndarray) -> Units | None:
    """Return `mean` and `deviation` of each column of targets (N, V), missing ones aside; None where they are labels (int).

    A column that never differs keeps its deviation of 1, one without a number also a mean of 0.

    >>> units_of(np.array([[1.0, 5.0], [3.0, np.nan]])), units_of(np.array([0, 1]))
    ({'mean': [2.0, 5.0], 'deviation': [1.0, 1.0]}, None)
    """
    if targets.dtype.kind != "f":
        return None
    known = [column[~np.isnan(column)] for column in targets.T]
    means = [float(column.mean()) if len(column) else 0.0 for column in known]
    deviations = [float(column.std()) if len(column) else 0.0 for column in known]
    return {"mean": means, "deviation": [deviation or 1.0 for deviation in deviations]}
