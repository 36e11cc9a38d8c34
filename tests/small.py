"""Small texts, tables and encoders built from configuration, shared by the tests."""

import random
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.artifacts.table import Folds, Table
from pipeline.contracts import Metric
from pipeline.data.class_targets import ClassTargets
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component

WORDS = ["the", "big", "small", "cat", "dog", "owl", "runs", "sleeps", "near", "river", "今天", "昨天", "公园"]
RANDOM = random.Random(0)
TEXTS = [f"{' '.join(RANDOM.choices(WORDS, k=6))} 天气{('不好', '很好')[i % 2]}" for i in range(240)]


DECODERS = ("qwen3", "llama", "gemma3_text")


def encoder(training: dict[str, Any] | None = None, **source: Any) -> Encoder:
    """Return the settings of a one-layer encoder."""
    small = {"vocab_size": 200, "hidden_size": 16, "n_layers": 1, "n_heads": 2, **source}
    settings = {"max_length": 16, "batch_size": 8, "epochs": 2, "learning_rate": 1e-3, **(training or {})}
    return Encoder.model_validate({"source": {"name": "from_config", **small}, **settings})


def checkpoint(folder: Path, architecture: str = "qwen3", **source: Any) -> Path:
    """Lay down a small checkpoint with random weights and return its folder."""
    settings = encoder(architecture=architecture, **{"n_layers": 2, "hidden_size": 32, **source})
    parts = settings.source.build(texts=TEXTS, max_length=32, seed=0)
    for part in (parts.model, parts.tokenizer):
        part.save_pretrained(folder)
    return folder


def adapted(folder: Path, *, adapter: Any = "lora", weights: str = "fp32", **training: Any) -> Encoder:
    """Return the settings of an adapter on a checkpoint, read as decoders are."""
    small = {"max_length": 16, "batch_size": 8, "epochs": 2, "learning_rate": 1e-2, "pooling": "last_token", **training}
    source = {"name": "pretrained", "path": str(folder), "weights": weights}
    return Encoder.model_validate({"source": source, "adapter": adapter, **small})


def frame(n: int = 24) -> pd.DataFrame:
    """Return n rows as a fold job has them: the label says whether the weather is good."""
    texts = [TEXTS[i % len(TEXTS)] for i in range(n)]
    labels = [int("很好" in text) for text in texts]
    return pd.DataFrame({"text": texts, "text_pair": None, "label": labels, "cluster": range(n)})


def table_and_folds(n_train: int = 32, n_test: int = 8, n_splits: int = 2) -> tuple[Table, Folds]:
    """Return a binary table and a fold manifest in which neighbours share a fold."""
    rows = frame(n_train + n_test)
    ids = [f"{i:03d}" for i in range(len(rows))]
    splits = ["train"] * n_train + ["test"] * n_test
    labels = rows["label"].astype(str).where(pd.Series(splits) == "train", None)
    table = rows.assign(row_id=ids, task="weather", split=splits, label=labels, group=None)
    plan = {"row_id": ids[:n_train], "task": "weather", "repeat": 0, "cluster": range(n_train)}
    folds = pd.DataFrame(plan).assign(fold=[i // 2 % n_splits for i in range(n_train)])
    return make_table(table.drop(columns="cluster"), {"weather": ["0", "1"]}), Folds(folds, "f" * 64)


def make_table(rows: pd.DataFrame, labels: dict[str, list[str]]) -> Table:
    """Return a table whose tasks are each about one of several labels."""
    return Table(rows, labels, {task: ("multiclass", {}) for task in labels})


def make_metric(name: str, n_outputs: int) -> Metric:
    """Return a metric of one of several labels."""
    component = Component(kind="metrics", name=name)
    metric: Metric = component.build(n_outputs=n_outputs, decide=ClassTargets().decide)
    return metric
