"""A tiny competition whose params.yaml edits are tried on: the file, its data, and a table and folds to train on."""

from pathlib import Path

from pipeline.artifacts.table import Folds, Table
from tests.conftest import PARAMS
from tests.small import table_and_folds


def write_competition(*, kind: str = "binary", n_splits: int = 3) -> tuple[Table, Folds]:
    """Write params.yaml and empty files for it, and return a table and folds of its task."""
    text = PARAMS.replace("kind: multiclass", f"kind: {kind}").replace("n_splits: 2", f"n_splits: {n_splits}")
    text = text.replace("training: {epochs: 1,", "training: {epochs: 1, head_learning_rate: 1e-2,")
    Path("params.yaml").write_text(text, encoding="utf-8")
    for name in ("train", "test", "sample_submission"):
        path = Path(f"data/tiny/{name}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    table, folds = table_and_folds(n_train=60, n_splits=n_splits)
    rows, plan = table.rows.assign(task="intent"), folds.rows.assign(task="intent")
    return Table(rows, {"intent": table.labels["weather"]}, {"intent": (kind, {})}), Folds(plan, folds.digest)
