"""One model of all tasks: each task's model learns, knows its rows, and goes on after a kill in the same bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.histories import read_history
from pipeline.artifacts.paths import predictions_path
from pipeline.artifacts.predictions import Predictions, read_predictions
from pipeline.artifacts.table import Folds, Table
from pipeline.base_models.finetuning import finetune
from pipeline.base_models.fold_training import Learner
from pipeline.base_models.shared_training import TaskRows, build_shared_trainee
from pipeline.data.fold_jobs import fold_jobs
from pipeline.multitask.objective import PENALTY
from pipeline.multitask.task_weights import ADDED
from pipeline.params.checks import NAME
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.training.fold_trainer import Trainee
from tests.small import encoder, make_table, table_and_folds

TASKS = ("weather", "animal")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def two_tasks(n_train: int = 48) -> tuple[Table, Folds]:
    """Return the weather of texts, and whether they name a cat, over the same folds."""
    table, folds = table_and_folds(n_train=n_train)
    rows = table.rows
    animals = rows["text"].str.contains("cat").astype(int).astype(str).where(rows["split"] == "train", None)
    both = pd.concat([rows, rows.assign(task="animal", label=animals)], ignore_index=True)
    plan = pd.concat([folds.rows, folds.rows.assign(task="animal")], ignore_index=True)
    return make_table(both, {task: ["0", "1"] for task in TASKS}), Folds(plan, folds.digest)


def run(name: str = "bert", **training: Any) -> dict[str, Predictions]:
    table, folds = two_tasks()
    finetune(
        name,
        table,
        folds,
        settings=encoder({"epochs": 10, "learning_rate": 5e-3, "head_learning_rate": 1e-2, **training}),
        recipe={"train": name, "predict": "p"},
        metrics={task: Component(kind="metrics", name="accuracy") for task in TASKS},
        seed=0,
        run=Run(device="cpu", n_workers=1),
        folder=Path("out/finetune") / name,
    )
    return {task: read_predictions(predictions_path("finetune", name, task), manifest=folds.digest) for task in TASKS}


@pytest.mark.parametrize("sharing", ["hard", "soft", "shared_private", "task_attention"])
def test_a_shared_model_learns_each_task_and_leaves_a_model_of_each(sharing: str) -> None:
    run(sharing=sharing)
    history = read_history(Path("out/finetune/bert"))
    assert [(unit["task"], unit["fold"]) for unit in history] == [(task, fold) for task in TASKS for fold in (0, 1)]
    for task in TASKS:
        losses = [point["losses"][task] for point in history[0]["steps"] if task in point.get("losses", {})]
        losses = losses or [point["loss"] for point in history[0]["steps"]]
        assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert len({unit["key"] for unit in history}) == 2 and len({unit["model"] for unit in history}) == 4


def shared_trainee() -> tuple[Trainee, dict[str, Learner]]:
    """Return a small model of two tasks and what it learns from."""
    table, folds = two_tasks(24)
    jobs = [job for job in fold_jobs(table, folds, seed=0) if job.fold == 0]
    settings = encoder({"sharing": "hard"})
    rows = {job.task: TaskRows(job.fitted, settings, 2, None, job.seed, ["0", "1"]) for job in jobs}
    return build_shared_trainee(rows, settings=settings, seed=1)


def test_gradients_are_combined_beside_a_penalty_of_the_same_pass() -> None:
    run(sharing="shared_private", epochs=1, task_weighting="pcgrad", task_batches={"mixed": True})
    history = read_history(Path("out/finetune/bert"))
    assert set(history[0]["steps"][0]["losses"]) == {*TASKS, PENALTY}


def test_no_task_can_bear_the_name_of_what_is_added_to_the_losses() -> None:
    assert not any(NAME.fullmatch(name) for name in (PENALTY, ADDED))


def test_a_task_may_have_its_own_head_layer_and_length() -> None:
    of_task = {"animal": {"head": "text_cnn", "layer": 1, "max_length": 8, "loss": "focal"}}
    run(sharing="hard", epochs=1, of_task=of_task)
    specs = [json.loads(Path(f"out/finetune/bert/models/{task}-r0-f0/readout.json").read_text()) for task in TASKS]
    assert [spec["head"][0] for spec in specs] == ["linear", "text_cnn"] and specs[1]["layer"] == 1
    history = {unit["task"]: unit for unit in read_history(Path("out/finetune/bert"))}
    assert history["animal"]["n_truncated"] > history["weather"]["n_truncated"]
