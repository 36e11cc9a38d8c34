"""Signs of a leak where nothing records one: a member too sure of the rows it is scored on, labels told by word, id or order.

A sign is no proof, so each asks for more than chance gives (`SURE`) and for an effect that matters; honest data and
members give none.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binom, mannwhitneyu

from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.table import Table
from pipeline.contracts import TaskKind
from pipeline.text.words import word_spans

SURE = 1e-6  # probability of a sign by chance
STANDARD_ERRORS = 4.75  # the same, of a normal variable
SURENESS_SHIFT = 0.15
ORDER_GAIN = 0.1
TELLING_RATIO = 0.99
FEWEST_ROWS = 20  # of a label: fewer may share a word by chance
N_ROWS = 5000


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


def surer_of_scored_rows(members: Mapping[str, Predictions], *, kind: TaskKind) -> Iterator[Leak]:
    """Yield the members whose fold models are much surer of the rows they are scored on than of test rows.

    A model that has seen a row is surer of it than of one it never saw. Test rows nobody has seen with a label, so an
    honest model is as sure of both, up to how the test rows differ: that shows in all members alike, so with three or
    more each is compared with their median.
    """
    tested = {name: predictions for name, predictions in members.items() if (predictions.rows["split"] == "test").any()}
    surer = {name: _surer(predictions, kind) for name, predictions in tested.items()}
    usual = float(np.median([value for value, _ in surer.values()])) if len(surer) > 2 else 0.5
    for name, (value, error) in surer.items():
        if value - usual > max(SURENESS_SHIFT, STANDARD_ERRORS * error):
            yield Leak(
                "knows the rows it is scored on", members[name].task,
                f"predictions of {name}: should be as sure of a scored training row as of a test row, got surer in "
                f"{value:.0%} of such pairs where {usual:.0%} are usual. Its models know those rows' labels, or test rows "
                "are of another kind.",
                certain=False,
            )  # fmt: skip


def _surer(predictions: Predictions, kind: TaskKind) -> tuple[float, float]:
    """Return the share of pairs in which a fold's model is surer of its own row than of a test row, and its error."""
    sure, splits = kind.sureness(predictions.logits), predictions.rows["split"].to_numpy()
    shares, sizes = [], []
    for positions in predictions.rows.groupby(["repeat", "fold"]).indices.values():
        scored, test = (sure[positions[splits[positions] == split]] for split in ("oof", "test"))
        if len(scored) and len(test):
            shares.append(mannwhitneyu(scored, test).statistic / (len(scored) * len(test)))
            sizes.append((len(scored), len(test)))
    if not shares:
        return 0.5, 0.0
    n_scored, n_test = min(sizes)  # the folds share their test rows: together they are no surer than one
    return float(np.mean(shares)), float(np.sqrt((n_scored + n_test + 1) / (12 * n_scored * n_test)))


def label_in_text(table: Table) -> Iterator[Leak]:
    """Yield the tasks in which single words tell all labels but one: the label, or a code of it, stands in the text."""
    from sklearn.feature_extraction.text import CountVectorizer

    for task in table.labels:
        rows = table.select(task, "train")
        rows = rows.iloc[:: max(1, len(rows) // N_ROWS)]
        texts = rows["text"].str.cat(rows["text_pair"].fillna(""), sep=" ")
        codes, labels = table.kind(task).strata(table.targets(task, rows), table.labels[task])
        large = np.bincount(codes, minlength=len(labels)) >= FEWEST_ROWS
        if large.sum() < 2 or not texts.str.strip().any():
            continue
        words = CountVectorizer(analyzer=_words, binary=True)
        stands = words.fit_transform(texts)
        together = stands.T @ np.eye(len(labels))[codes]  # (words, labels)
        right = together / np.asarray(stands.sum(axis=0)).reshape(-1, 1)
        reached = together / np.bincount(codes, minlength=len(labels)).clip(1)
        telling = np.minimum(right, reached)[:, large]
        if (telling.max(axis=0) >= TELLING_RATIO).sum() >= large.sum() - 1:
            best = telling.max(axis=0).argmax()
            word = words.get_feature_names_out()[telling[:, best].argmax()]
            label = labels[int(np.flatnonzero(large)[best])]
            yield Leak(
                "label written in the text", task,
                f"task {task}: no single word should tell a label, got {word!r} for {label!r}, and others for other labels. "
                "Unless test texts have them too, take them out of the training texts.",
                certain=False,
            )  # fmt: skip


def _words(text: str) -> set[str]:
    return {text[start:end].casefold() for start, end in word_spans(text, "blank")}


def label_in_order(table: Table, clusters: pd.DataFrame) -> Iterator[Leak]:
    """Yield the tasks in which rows that follow one another, in the file or by their ids, share labels far too often.

    Of near-duplicates, which often do both, only the first row counts.
    """
    for task in table.labels:
        near = clusters[(clusters["task"] == task) & (clusters["split"] == "train")].set_index("row_id")["cluster"]
        rows = table.select(task, "train")
        rows = rows[~rows["row_id"].map(near).duplicated()].reset_index(drop=True)
        ids = rows["row_id"].tolist()
        orders = {
            "in the order of the file": list(range(len(ids))),
            "in the order of their ids": sorted(range(len(ids)), key=lambda row: _natural(ids[row])),
            "in the order of the ends of their ids": sorted(range(len(ids)), key=lambda row: ids[row][::-1]),
        }
        for what, order in orders.items():
            share, chance = _neighbours_alike(rows["label"].to_numpy()[order])
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
