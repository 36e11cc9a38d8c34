"""A tiny competition whose params.yaml edits are tried on: the file, its data, and a table and folds to train on."""

from pathlib import Path

import pandas as pd

from pipeline.artifacts.table import Folds, Table
from tests.conftest import PARAMS
from tests.small import table_and_folds

LABELS = {"binary": ["0", "1"], "multilabel": ["good", "bad"], "regression": ["label"]}


def write_competition(*, kind: str = "binary", n_splits: int = 3) -> tuple[Table, Folds]:
    """Write params.yaml and empty files for it, and return a table and folds of its task, of one of three kinds."""
    text = PARAMS.replace("kind: multiclass", f"kind: {kind}").replace("n_splits: 2", f"n_splits: {n_splits}")
    text = text.replace("training: {epochs: 1,", "training: {epochs: 1, head_learning_rate: 1e-2,")
    if kind == "multilabel":
        text = text.replace("metric: accuracy", "metric: f1_macro")
        text = text.replace("training: {", "training: {loss: bce, ").replace("stitch: {", "stitch: {loss: bce, ")
    if kind == "regression":
        text = text.replace("metric: accuracy", "metric: rmse").replace("tfidf_logistic", "tfidf_ridge")
        text = text.replace("[mean, logistic]", "[mean]")
        text = text.replace("training: {", "training: {loss: mse, ").replace("stitch: {", "stitch: {loss: mse, ")
    Path("params.yaml").write_text(text, encoding="utf-8")
    for name in ("train", "test", "sample_submission"):
        path = Path(f"data/tiny/{name}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    table, folds = table_and_folds(n_train=60, n_splits=n_splits)
    rows, plan = table.rows.assign(task="intent"), folds.rows.assign(task="intent")
    if kind == "multilabel":
        named = rows["label"].map({"0": "bad", "1": "good"}) + pd.Series(["", " good"] * len(rows))[: len(rows)]
        rows["label"] = named.where(rows["split"] == "train", None)
    return Table(rows, {"intent": LABELS[kind]}, {"intent": (kind, {})}), Folds(plan, folds.digest)
