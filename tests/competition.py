"""Small competitions as the stack stage finds them: table, folds, and members that know the labels more or less."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from pipeline.artifacts.likeness import Likeness, write_likeness
from pipeline.artifacts.predictions import PREDICTION_COLUMNS, Predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.data import demo
from pipeline.data.fold_jobs import fold_jobs
from pipeline.data.preparing import prepare
from pipeline.data.splitting import assign_folds, cluster_rows
from pipeline.params.tasks import Folds as FoldSettings
from pipeline.params.tasks import Task
from tests.small import make_table

DIGEST = "d" * 64
SIMILARITY = 0.85


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


def write_alike(table: Table) -> None:
    """Write what `prepare` knows of a table whose test rows are like its training rows and repeat none of them."""
    rows = table.rows[["task", "split", "row_id"]].assign(cluster=range(len(table.rows)), log_odds=0.0, marked=True)
    alike = Likeness(auc=0.5, low=0.45, high=0.55, shifted=False, telling=[])
    write_likeness(rows, dict.fromkeys(table.labels, alike))


def demo_competition(
    folder: Path, *, seed: int, n_train: int = 240, n_test: int = 80, n_repeats: int = 1
) -> tuple[Table, Folds, pd.DataFrame]:
    """Return the demo's competition of a seed: table, fold manifest and near-duplicate clusters."""
    demo.generate(folder, seed=seed, n_train=n_train, n_test=n_test)
    columns: Any = {"id": "id", "text": "synthetic_text", "label": "label"}
    files: Any = {"train": str(folder / "train.csv"), "test": str(folder / "test.csv")}
    task = Task.model_validate({"kind": "multiclass", "metric": "accuracy", "columns": columns, **files})
    table = prepare({"intent": task})
    return table, plan_folds(table, seed=seed, n_repeats=n_repeats), cluster_rows(table, similarity=SIMILARITY)


def write_params(folder: Path, *, formats: tuple[str, ...] = ("kaggle_csv",), model: str = "tfidf") -> None:
    """Write the params of a competition in which only submissions matter, and empty files of rows."""
    tasks = "".join(
        f"  {name}: {{kind: binary, metric: accuracy, train: data/c/train.csv, test: data/c/test.csv, "
        f"submission: {{format: {form}}}}}\n"
        for name, form in zip(("main", "other"), formats, strict=False)
    )
    text = (
        f"competition: c\nseed: 1\ntasks:\n{tasks}folds: {{near_duplicate_similarity: null}}\naugment: {{}}\ntraining: {{}}\n"
        f"encoders: {{unused: {{source: from_config}}}}\nstitch: {{}}\nbaselines: {{tfidf: tfidf_logistic}}\nstack: {{}}\n"
        f"submit: {{model: {model}}}\n"
    )
    (folder / "params.yaml").write_text(text)
    for name in ("train.csv", "test.csv"):
        (folder / "data" / "c").mkdir(parents=True, exist_ok=True)
        (folder / "data" / "c" / name).touch()


def plan_folds(table: Table, *, seed: int, n_repeats: int = 1) -> Folds:
    """Return a table's manifest of four folds."""
    clusters = cluster_rows(table.only("train"), similarity=SIMILARITY)
    settings = FoldSettings(n_splits=4, n_repeats=n_repeats, near_duplicate_similarity=SIMILARITY)
    return Folds(assign_folds(table, clusters, folds=settings, seed=seed), "f" * 64)


def forest(table: Table, folds: Folds, *, in_sample: Collection[int] = (), seed: int = 0) -> Predictions:
    """Return the predictions of random forests of the folds; in some repeats they were fitted on what they score too."""
    labels = table.labels["intent"]
    codes = table.select("intent", "train").set_index("row_id")["label"].map(labels.index)
    parts = []
    for job in fold_jobs(table, folds, seed=0):
        model = make_pipeline(TfidfVectorizer(), RandomForestClassifier(25, random_state=seed))
        scored = job.predicted[job.predicted["split"] == "oof"]
        known = scored.assign(label=scored["row_id"].map(codes)) if job.repeat in in_sample else scored.iloc[:0]
        fitted = pd.concat([job.fitted, known], ignore_index=True)
        model.fit(fitted["text"], fitted["label"].astype(int))
        logits = np.log(model.predict_proba(job.predicted["text"]).clip(1e-3))
        parts.append((job.predicted[PREDICTION_COLUMNS], logits))
    rows = pd.concat([part for part, _ in parts], ignore_index=True)
    logits = np.concatenate([block for _, block in parts])
    return Predictions("forest", "intent", labels, rows, logits, folds.digest, "", 0)
