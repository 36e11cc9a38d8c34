"""Signs of a leak where nothing records one: a member too sure of the rows it is scored on, labels told by id or order.

A sign is no proof, so each asks for more than chance gives (`SURE`) and for an effect that matters; honest data and
members give none.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binom, hypergeom, mannwhitneyu

from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.table import Table
from pipeline.contracts import TaskKind
from pipeline.targets.strata import one_each

SURE = 1e-6  # probability of a sign by chance
STANDARD_ERRORS = 4.75  # the same, of a normal variable
SURENESS_SHIFT = 0.15
VERY_SURE = (0.8, 0.9, 0.95, 0.98)  # of a fold model's test rows, the share it is less sure of
KNOWN_RATIO = 0.08
ORDER_GAIN = 0.1


@dataclass(frozen=True)
class Leak:
    """What kind of leak, in which task, and in words where; certain by ids or digests, or only very likely by numbers."""

    kind: str
    task: str
    text: str
    certain: bool = True

    @property
    def said(self) -> str:
        """Return it as the report shows it.

        >>> Leak("copies of scored rows", "news", "a.parquet: one.").said
        'Leak, copies of scored rows: a.parquet: one.'
        """
        return f"{'Leak' if self.certain else 'Sign of a leak'}, {self.kind}: {self.text}"


def surer_of_scored_rows(members: Mapping[str, Predictions], *, kind: TaskKind, alike: bool) -> Iterator[Leak]:
    """Yield the members whose fold models are much surer of the rows they are scored on than of test rows.

    A model that has seen a row is surer of it than of one it never saw, and test rows nobody has seen with a label. Where
    nothing tells test texts from training texts, they are `alike`, an honest model is as sure of both: in the mean, and as
    often very sure. Else only a member that differs from the median of three or more is accused, by its mean.
    """
    tested = {name: predictions for name, predictions in members.items() if (predictions.rows["split"] == "test").any()}
    for repeat in sorted({repeat for predictions in tested.values() for repeat in predictions.rows["repeat"].unique()}):
        sureness = {name: _sureness(predictions, kind, repeat) for name, predictions in tested.items()}
        sureness = {name: of_folds for name, of_folds in sureness.items() if of_folds}
        surer = {name: _surer(of_folds) for name, of_folds in sureness.items()}
        usual = 0.5 if alike or len(surer) < 3 else float(np.median([value for value, _ in surer.values()]))
        for name, (value, error) in surer.items():
            known = _very_sure(sureness[name]) if alike else 0.0
            if value - usual > max(SURENESS_SHIFT, STANDARD_ERRORS * error):
                got = f"surer in {value:.0%} of such pairs where {usual:.0%} are usual"
            elif known > KNOWN_RATIO:
                got = f"{known:.0%} of the scored rows more that it is very sure of"
            else:
                continue
            yield Leak(
                "knows the rows it is scored on", members[name].task,
                f"predictions of {name}, repeat {repeat}: should be as sure of a scored training row as of a test row, got "
                f"{got}. Its models know those rows' labels, or test rows are of another kind: look at what it trained on, "
                "and make its predictions again.",
                certain=False,
            )  # fmt: skip


def _sureness(predictions: Predictions, kind: TaskKind, repeat: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return how sure each fold's model is of its own rows and of test rows, where it has both."""
    chosen = (predictions.rows["repeat"] == repeat).to_numpy()
    rows, sure = predictions.rows[chosen].reset_index(drop=True), kind.sureness(predictions.logits[chosen])
    splits = rows["split"].to_numpy()
    of_folds = [
        (sure[positions[splits[positions] == "oof"]], sure[positions[splits[positions] == "test"]])
        for positions in rows.groupby("fold").indices.values()
    ]
    return [(scored, test) for scored, test in of_folds if len(scored) and len(test)]


def _surer(of_folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Return the share of pairs in which a fold's model is surer of its own row than of a test row, and its error."""
    shares = [mannwhitneyu(scored, test).statistic / (len(scored) * len(test)) for scored, test in of_folds]
    # The folds share their test rows.
    n_scored, n_test = sum(len(scored) for scored, _ in of_folds), len(of_folds[0][1])
    return float(np.mean(shares)), float(np.sqrt((n_scored + n_test + 1) / (12 * n_scored * n_test)))


def _very_sure(of_folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return how many more of the scored rows than of the test rows, as a share, are among the very sure; 0 by chance."""
    n_scored, n_test = sum(len(scored) for scored, _ in of_folds), len(of_folds[0][1])
    found = [0.0]
    for quantile in VERY_SURE:
        bounds = [np.quantile(test, quantile, method="higher") for _, test in of_folds]
        scored = sum(int((own > bound).sum()) for (own, _), bound in zip(of_folds, bounds, strict=True))
        # The folds share their test rows: these count once.
        test = round(float(np.mean([(test > bound).sum() for (_, test), bound in zip(of_folds, bounds, strict=True)])))
        if hypergeom.sf(scored - 1, n_scored + n_test, scored + test, n_scored) < SURE / len(VERY_SURE):
            found.append(scored / n_scored - test / n_test)
    return max(found)


def label_in_order(table: Table, clusters: pd.DataFrame) -> Iterator[Leak]:
    """Yield the tasks in which rows that follow one another, in the file or by their ids, share labels far too often.

    Of near-duplicates, which often do both, only the first row counts.
    """
    for task in table.labels:
        near = clusters[(clusters["task"] == task) & (clusters["split"] == "train")].set_index("row_id")["cluster"]
        rows = table.select(task, "train")
        rows = rows[~rows["row_id"].map(near).duplicated()].reset_index(drop=True)
        ids = rows["row_id"].tolist()
        labels = one_each(table.kind(task).strata(table.targets(task, rows), table.labels[task])[0])
        orders = {
            "in the order of the file": list(range(len(ids))),
            "in the order of their ids": sorted(range(len(ids)), key=lambda row: _natural(ids[row])),
            "in the order of the ends of their ids": sorted(range(len(ids)), key=lambda row: ids[row][::-1]),
        }
        for what, order in orders.items():
            share, chance = _neighbours_alike(labels[order])
            if share - chance > ORDER_GAIN and binom.sf(share * (len(ids) - 1) - 1, len(ids) - 1, chance) < SURE:
                yield Leak(
                    "label told by order or id", task,
                    f"task {task}: rows that follow one another {what} should share a label as often as any two, in "
                    f"{chance:.0%} of cases, got {share:.0%}. No model here sees that order; others may use it.",
                    certain=False,
                )  # fmt: skip
                break


def _neighbours_alike(labels: np.ndarray) -> tuple[float, float]:
    """Return how often neighbours are alike, and how often they would be in random order.

    >>> _neighbours_alike(np.array(["a", "a", "b", "b"]))
    (0.6666666666666666, 0.5)
    """
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(np.mean(labels[1:] == labels[:-1])), float((shares**2).sum())


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a key by which numbers within texts are ordered by their value.

    >>> sorted(["a10", "a9", "b1"], key=_natural)
    ['a9', 'a10', 'b1']
    """
    return [(int(part), "") if re.fullmatch("[0-9]+", part) else (-1, part) for part in re.split("([0-9]+)", text)]
