"""The submission of the best baseline, before anything slow begins."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.artifacts.files import read_json
from pipeline.params.tasks import Task
from pipeline.submit.first_submission import submit_best
from tests.competition import competition


@pytest.mark.parametrize(("metric", "signals"), [("accuracy", (0.2, 3.0, 0.5)), ("log_loss", (0.2, 3.0, 0.5))])
def test_the_model_that_scores_best_is_submitted_whichever_way_its_metric_points(
    tmp_path: Path, metric: str, signals: tuple[float, ...]
) -> None:
    table, folds, members = competition(n_rows=120, n_test=10, holdout=8, signals=signals)
    columns = {"id": "id", "text": "text", "label": "label"}
    files: Any = {"train": "train.csv", "test": "test.csv", "submission": {"format": "kaggle_csv"}}
    task = Task.model_validate({"kind": "multiclass", "metric": metric, "columns": columns, **files})
    models = {name: {"news": predictions} for name, predictions in members.items()}
    params: Any = SimpleNamespace(tasks={"news": task}, submitted={"news": task}, test_files=[""])
    submit_best(params, table, folds, models, folder=tmp_path)
    record = read_json(tmp_path / "submission.json")
    assert record["model"] == "model1" and record["tasks"]["news"]["rows"] == 10
    assert Path(record["path"]).read_text(encoding="utf-8").count("\n") == 11
