"""One model of all tasks: each task's model learns, knows its rows, and goes on after a kill in the same bytes."""

import json
from dataclasses import dataclass
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
from pipeline.base_models.shared_training import TaskRows, build_shared_trainee, train_shared
from pipeline.data.fold_jobs import fold_jobs
from pipeline.multitask.objective import PENALTY
from pipeline.multitask.task_weights import ADDED
from pipeline.params.checks import NAME
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.training.fold_trainer import Trainee
from pipeline.units.checkpoints import Checkpoints
from pipeline.units.execution import Workspace
from pipeline.units.unit import Unit
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


def settings_of(**training: Any) -> Encoder:
    return encoder({"epochs": 10, "learning_rate": 5e-3, "head_learning_rate": 1e-2, **training})


def run(
    name: str = "bert", *, settings: Encoder | None = None, recipe: dict[str, Any] | None = None, **training: Any
) -> dict[str, Predictions]:
    table, folds = two_tasks()
    finetune(
        name,
        table,
        folds,
        settings=settings or settings_of(**training),
        recipe=recipe or {"train": name, "predict": "p"},
        metrics={task: Component(kind="metrics", name="accuracy") for task in TASKS},
        seed=0,
        run=Run(device="cpu", n_workers=1),
        folder=Path("out/finetune") / name,
    )
    return {task: read_predictions(predictions_path("finetune", name, task), manifest=folds.digest) for task in TASKS}


PRIVATE = {"name": "shared_private", "private": "encoder", "penalty": "adversarial"}


@pytest.mark.parametrize("sharing", ["hard", "soft", "shared_private", "task_attention", PRIVATE], ids=str)
def test_a_shared_model_learns_each_task_and_leaves_a_model_of_each(sharing: Any) -> None:
    run(sharing=sharing)
    history = read_history(Path("out/finetune/bert"))
    assert [(unit["task"], unit["fold"]) for unit in history] == [(task, fold) for task in TASKS for fold in (0, 1)]
    for task in TASKS:
        losses = [point["losses"][task] for point in history[0]["steps"] if task in point.get("losses", {})]
        losses = losses or [point["loss"] for point in history[0]["steps"]]
        assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert len({unit["key"] for unit in history}) == 2 and len({unit["model"] for unit in history}) == 4


def rows_of_tasks(settings: Encoder) -> dict[str, TaskRows]:
    """Return what each of two tasks learns from in a fold."""
    jobs = [job for job in fold_jobs(*two_tasks(24), seed=0) if job.fold == 0]
    return {job.task: TaskRows(job.fitted, settings, 2, None, job.seed, ["0", "1"]) for job in jobs}


def shared_trainee(**training: Any) -> tuple[Trainee, dict[str, Learner]]:
    """Return a small model of two tasks and what it learns from."""
    settings = encoder({"sharing": "hard", **training})
    return build_shared_trainee(rows_of_tasks(settings), settings=settings, seed=1)


@dataclass
class Killed(Workspace):
    """A workspace whose process is killed after a step, before its checkpoint."""

    at: int = 0

    def progress(self, **values: float) -> None:
        if values.get("step") == self.at:
            raise KeyboardInterrupt


def workspace(name: str, *, kill_at: int = 0) -> Workspace:
    """Return a new folder for a result, beside checkpoints that stay."""
    unit, result = Unit(name, {}), Path(f"{name}-result-{kill_at}")
    result.mkdir()
    return Killed(unit, result, "cpu", Checkpoints(Path(f"{name}-checkpoints")), at=kill_at)


def bytes_of(workspace: Workspace) -> dict[str, Any]:
    """Return the files of a result: of its histories all but the time."""
    files = {path.relative_to(workspace.result).as_posix(): path for path in sorted(workspace.result.rglob("*.*"))}
    of_history = ("history.json", "manifest.json")
    histories = [
        json.loads(path.read_text()) | {"seconds": 0} for name, path in files.items() if name.endswith(of_history[0])
    ]
    return {"histories": histories} | {
        name: path.read_bytes() for name, path in files.items() if not name.endswith(of_history)
    }


MIXED = {"task_batches": {"mixed": True}}
KILLED: dict[str, dict[str, Any]] = {
    "gradnorm": {"sharing": "hard", "task_weighting": "gradnorm", **MIXED},
    "famo": {"sharing": "soft", "task_weighting": "famo", "averaging": "ema", "task_batches": {"temperature": 2}},
    "uncertainty": {
        "sharing": PRIVATE,
        "task_weighting": "uncertainty",
        "adversarial": "pgd",
        "adversarial_start_epoch": 1,
    },
}


@pytest.mark.parametrize("way", KILLED)
def test_F1_I1_a_whole_shared_training_goes_on_after_a_kill_in_the_same_bytes(way: str) -> None:
    """Killed in the second epoch and begun again, the training of several tasks together leaves the same files."""
    settings = encoder({"checkpoint_seconds": 1e-9, "dropout_samples": 2, **KILLED[way]})

    def train(home: Workspace) -> dict[str, Any]:
        train_shared(home, tasks=rows_of_tasks(settings), settings=settings, seed=1)
        return bytes_of(home)

    with pytest.raises(KeyboardInterrupt):
        train(workspace("killed", kill_at=5))
    steps = [int(path.name.removeprefix("step-")) for path in Path("killed-checkpoints").glob("step-*")]
    assert max(steps) == 4
    resumed, whole = train(workspace("killed")), train(workspace("whole"))
    assert {f"{task}/model.safetensors" for task in TASKS} < set(whole) and resumed == whole


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
