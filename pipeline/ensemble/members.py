"""What the ensemble of one task is made from: its members' predictions, joined by row id, and its rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline import components
from pipeline.artifacts.predictions import Predictions, probabilities_of
from pipeline.artifacts.table import HOLDOUT_FOLD, TRAIN_FOLD, Folds, Table
from pipeline.contracts import Metric, TaskKind
from pipeline.data.likeness import density_ratio_weights
from pipeline.ensemble.forms import WithinFolds
from pipeline.errors.exceptions import DataError
from pipeline.reproducibility import derive_seed

PRIOR_AGREEMENT = (9, 1)  # pairs of rows that say the same and have, or have not, the same target
# Test rows by which averaging is judged: enough, since it takes no labels. With many labels fewer, down to the fewest: each
# row is scored for each label it may have, over all labels.
N_SAMPLED, FEWEST_SAMPLED, MOST_CELLS = 2000, 50, 2_000_000


@dataclass(frozen=True)
class Rows:
    """Rows of one split in one order: their ids, targets (N, …) as `labels`, and clusters (N,)."""

    ids: list[str]
    labels: np.ndarray
    clusters: np.ndarray


@dataclass(frozen=True)
class Candidate:
    """A member or an ensemble: V values per row as its fold models give them, and how they are decided before scoring."""

    out_of_fold: np.ndarray  # (N, V), each row by the models that never saw it
    by_fold: np.ndarray  # (K, S, V), sampled test rows by the models of each fold
    mean: np.ndarray  # (S, V), the same rows as they are submitted
    decide: Callable[[np.ndarray], np.ndarray] = lambda values: values


@dataclass(frozen=True)
class Members:
    """Everything the ensemble of one task is made from, joined by row id; M members, V values of a row in fixed order."""

    task: str
    kind: TaskKind
    labels: list[str]
    names: list[str]
    train: Rows
    holdout: Rows
    test_ids: list[str]
    folds: np.ndarray  # (R, N), numbered 0 to K - 1
    out_of_fold: np.ndarray  # (R, N, M, V)
    holdout_probabilities: np.ndarray  # (H, M, V), mean over folds and repeats
    holdout_by_fold: np.ndarray  # (K, H, M, V), by the models of each fold, mean over repeats
    test_probabilities: np.ndarray  # (T, M, V), mean over folds and repeats
    twins: np.ndarray  # (T,), place of a training row that says the same as the test row, or -1
    agreement: float  # how often training rows that say the same have the same target
    weights: np.ndarray | None  # (N,), by which training rows stand for test rows of another kind
    sampled: np.ndarray  # (S,), places of some test rows
    sampled_by_fold: np.ndarray  # (K, S, M, V)

    def scorer(self, metric_name: str, metric: Metric) -> Metric:
        """Return what scores out-of-fold rows, each of which another fold's model may have predicted.

        The folds of the first repeat stand for all: averaged over repeats, models have more of an order in common.
        """
        orders = components.constant("metrics", metric_name, "ORDERS_ROWS")
        return WithinFolds(metric, self.folds[0]) if orders else metric

    def candidate(self, name: str) -> Candidate:
        """Return one member as its fold models have it."""
        position = self.names.index(name)
        mean, by_fold = self.test_probabilities[self.sampled], self.sampled_by_fold
        return Candidate(self.out_of_fold[:, :, position].mean(axis=0), by_fold[:, :, position], mean[:, position])

    def only(self, names: Sequence[str]) -> "Members":
        """Return the same rows with only the named members, in the order of the names."""
        positions = [self.names.index(name) for name in names]
        axes = {"holdout_probabilities": 1, "test_probabilities": 1}
        axes |= dict.fromkeys(("out_of_fold", "holdout_by_fold", "sampled_by_fold"), 2)
        kept = {field: getattr(self, field).take(positions, axis=axis) for field, axis in axes.items()}
        return replace(self, names=list(names), **kept)


def gather_members(
    members: Mapping[str, Predictions], *, table: Table, folds: Folds, task: str,
    likeness: pd.DataFrame | None = None, shifted: bool = False,
) -> Members:  # fmt: skip
    """Join the members' predictions by row id, in the order of the table and of `members`.

    `likeness` has `task, split, row_id, cluster, log_odds` of training and test rows (see `read_likeness`), None knows of
    none; `shifted` says that test rows are of another kind.

    Raises:
        DataError: if a member has other labels, lacks a row, or predicted a row in another fold than the manifest's.
    """
    kind, labels = table.kind(task), table.labels[task]
    manifest = folds.rows[folds.rows["task"] == task]
    repeats = sorted(int(repeat) for repeat in manifest["repeat"].unique())
    for predictions in members.values():
        _check_member(predictions, labels=kind.outputs(labels), manifest=manifest, task=task)
    first = folds.select(task, repeats[0]).set_index("row_id")
    source = table.select(task, "train")
    source = source[source["row_id"].isin(first.index[first["fold"] != TRAIN_FOLD])]
    outside = source["row_id"].map(first["fold"]).to_numpy() == HOLDOUT_FOLD
    train, holdout = (_rows(part, first, table=table, task=task) for part in (source[~outside], source[outside]))
    test_ids = table.select(task, "test")["row_id"].tolist()
    numbers = [folds.select(task, repeat).set_index("row_id")["fold"].loc[train.ids] for repeat in repeats]

    sampled = _sample(len(test_ids), n_labels=len(labels), seed=derive_seed(0, task, "sampled"))
    twins, agreement = _twins(likeness, train, test_ids, task=task)
    weights = _weights(likeness, train, task=task) if likeness is not None and shifted else None
    scored = sorted(numbers[0].unique())

    def joined(split: str, ids: list[str], **of: int) -> np.ndarray:
        ordered = [_ordered(predictions, kind.outputs(labels)) for predictions in members.values()]
        return np.stack([probabilities_of(member, split, ids, kind=kind, **of) for member in ordered], axis=1)

    def by_fold(split: str, ids: list[str]) -> np.ndarray:
        return np.stack([joined(split, ids, fold=fold) for fold in scored])

    return Members(
        task, kind, labels, list(members), train, holdout, test_ids,
        folds=np.stack([np.unique(fold.to_numpy(), return_inverse=True)[1] for fold in numbers]),
        out_of_fold=np.stack([joined("oof", train.ids, repeat=repeat) for repeat in repeats]),
        holdout_probabilities=joined("holdout", holdout.ids), holdout_by_fold=by_fold("holdout", holdout.ids),
        test_probabilities=joined("test", test_ids), twins=twins, agreement=agreement, weights=weights,
        sampled=sampled, sampled_by_fold=by_fold("test", [test_ids[place] for place in sampled]),
    )  # fmt: skip


def _ordered(predictions: Predictions, outputs: list[str]) -> Predictions:
    order = [predictions.labels.index(name) for name in outputs]
    return replace(predictions, labels=outputs, logits=predictions.logits[:, order])


def _sample(n_rows: int, *, n_labels: int, seed: int) -> np.ndarray:
    most = min(N_SAMPLED, max(FEWEST_SAMPLED, MOST_CELLS // n_labels**2))
    return np.sort(np.random.default_rng(seed).permutation(n_rows)[:most])


def _weights(likeness: pd.DataFrame, train: Rows, *, task: str) -> np.ndarray:
    of_task = likeness[(likeness["task"] == task) & (likeness["split"] == "train")].set_index("row_id")
    return density_ratio_weights(of_task["log_odds"].loc[train.ids].to_numpy())


def _twins(near: pd.DataFrame | None, train: Rows, test_ids: list[str], *, task: str) -> tuple[np.ndarray, float]:
    """Return for each test row a training row of its cluster or -1, and how often training rows of one cluster agree.

    The latter starts from `PRIOR_AGREEMENT`, so that a few pairs do not say always or never.
    """
    if near is None:
        return np.full(len(test_ids), -1), PRIOR_AGREEMENT[0] / sum(PRIOR_AGREEMENT)
    of_task = near[near["task"] == task]
    cluster = {split: rows.set_index("row_id")["cluster"] for split, rows in of_task.groupby("split")}
    clusters = cluster["train"].loc[train.ids].to_numpy()
    order = np.argsort(clusters, kind="stable")
    pairs = np.stack([order[:-1], order[1:]])[:, clusters[order[:-1]] == clusters[order[1:]]]
    agree = int(_alike(*train.labels[pairs]).sum())
    yes, no = PRIOR_AGREEMENT
    place = {number: row for row, number in enumerate(clusters.tolist())}
    twins = [place.get(number, -1) for number in cluster["test"].loc[test_ids]] if test_ids else []
    return np.array(twins, np.int64), (agree + yes) / (pairs.shape[1] + yes + no)


def _alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return whether two targets (N, …) are the same, bool (N,), missing ones being alike."""
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    alike: np.ndarray = same.all(axis=tuple(range(1, same.ndim)))
    return alike


def _rows(source: pd.DataFrame, manifest: pd.DataFrame, *, table: Table, task: str) -> Rows:
    ids = source["row_id"].tolist()
    clusters = np.unique(manifest["cluster"].loc[ids].to_numpy(), return_inverse=True)[1]
    return Rows(ids, table.targets(task, source), clusters)


def _check_member(predictions: Predictions, *, labels: list[str], manifest: pd.DataFrame, task: str) -> None:
    where = f"predictions of {predictions.model}, task {task}"
    if predictions.task != task or sorted(predictions.labels) != sorted(labels):
        got = f"{predictions.task} with {predictions.labels}"
        raise DataError(f"{where}: must be of task {task} with the labels {labels}, got {got}. Run dvc repro.")
    wrong = in_other_folds(predictions, manifest)
    if len(wrong):
        row = wrong.iloc[0]
        raise DataError(
            f"{where}: {len(wrong)} out-of-fold rows are not in the fold of the manifest, first {row['row_id']!r}: "
            f"must be {row['fold_of_row']}, got {row['fold']}: its model may have trained on it. Run dvc repro --force."
        )


def in_other_folds(predictions: Predictions, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the out-of-fold rows scored in another `fold` than the manifest's of their task, `fold_of_row`."""
    rows = predictions.rows[predictions.rows["split"] == "oof"]
    rows = rows.merge(manifest, on=["row_id", "repeat"], how="left", suffixes=("", "_of_row"), validate="1:1")
    return rows[rows["fold"] != rows["fold_of_row"]]
