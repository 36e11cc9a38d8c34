"""A small competition as the stack stage finds it: table, folds, and members that know the labels more or less."""

import numpy as np
import pandas as pd

from pipeline.artifacts.predictions import PREDICTION_COLUMNS, Predictions
from pipeline.artifacts.table import Folds
from tests.small import make_table

DIGEST = "d" * 64


def competition(
    n_rows=240, n_test=40, n_repeats=2, n_folds=4, holdout=0, signals=(1.5, 1.0, 0.5), labels=("no", "yes"), seed=0
):
    """Return table, folds and members whose logits carry the label with the given strengths."""
    generator = np.random.default_rng(seed)
    train_ids, test_ids = [f"t{n}" for n in range(n_rows)], [f"s{n}" for n in range(n_test)]
    truth = {row: int(generator.integers(0, len(labels))) for row in train_ids + test_ids}
    table = pd.DataFrame({"row_id": train_ids + test_ids, "split": ["train"] * n_rows + ["test"] * n_test})
    table["label"] = [labels[truth[row]] if row in set(train_ids) else None for row in table["row_id"]]
    table = table.assign(task="news", text="x", text_pair=None, group=None)
    manifest = []
    for repeat in range(n_repeats):
        numbers = generator.permutation(np.arange(n_rows) % n_folds)
        numbers[:holdout] = -1
        manifest.append(
            pd.DataFrame({"row_id": train_ids, "repeat": repeat, "fold": numbers, "cluster": range(n_rows)})
        )
    manifest = pd.concat(manifest, ignore_index=True).assign(task="news")
    members = {}
    for number, signal in enumerate(signals):
        rows = [manifest[manifest["fold"] >= 0].assign(split="oof")]
        for split, ids in (("test", test_ids), ("holdout", train_ids[:holdout])):
            grid = [(row, repeat, fold) for repeat in range(n_repeats) for fold in range(n_folds) for row in ids]
            rows.append(pd.DataFrame(grid, columns=["row_id", "repeat", "fold"]).assign(split=split, task="news"))
        frame = pd.concat([one for one in rows if len(one)], ignore_index=True)[PREDICTION_COLUMNS]
        frame = frame.sample(frac=1, random_state=number, ignore_index=True)  # positions mean nothing
        chosen = np.array([truth[row] for row in frame["row_id"]])
        logits = generator.normal(size=(len(frame), len(labels))) + signal * np.eye(len(labels))[chosen]
        name = f"model{number}"
        members[name] = Predictions(name, "news", list(labels), frame, logits.astype(np.float32), DIGEST, "", 0)
    return make_table(table, {"news": list(labels)}), Folds(manifest, DIGEST), members
