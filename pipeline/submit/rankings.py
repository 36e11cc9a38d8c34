"""The likeliest labels of each row as one cell of a submission, the likeliest first, with blanks between them."""

import numpy as np
import pandas as pd

from pipeline.contracts import PROBABILITY
from pipeline.errors.exceptions import ParamsError
from pipeline.submit.submitting import refused

RANKING = "ranking"  # of k labels: a column beside those that the kind of task shows


def ranked(frame: pd.DataFrame, labels: list[str], *, k: int, task: str) -> list[str]:
    """Return each row's k likeliest labels, the likeliest first; of equal ones that which is listed first.

    Raises:
        ParamsError: if there are fewer labels.
        DataError: if a label holds what stands between them.
    """
    if k > len(labels):
        text = f"submission.format: k must be at most the number of labels of task {task}, {len(labels)}, got {k}. Lower it."
        raise ParamsError(text, code="E203")
    if held := [label for label in labels if label.split() != [label]]:
        text = f"labels of task {task} must hold no blank, which stands between the {k} of a row, got {held[0]!r}"
        raise refused("submission", text, f"Rename it in tasks.{task}.rename_labels.")
    probabilities = frame[[PROBABILITY + label for label in labels]].to_numpy()
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return [" ".join(row) for row in np.array(labels, object)[likeliest]]
