"""Trainings one after another: tasks by themselves, together, and further by themselves, each fold from its own models."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.artifacts.histories import HISTORY
from pipeline.base_models.fold_training import build_trainee, train_fold
from pipeline.base_models.further_training import build_further, train_further
from pipeline.base_models.shared_training import build_shared_trainee, train_shared
from pipeline.checks.unit_needs import encoder_needs
from pipeline.models.classifier import WEIGHTS
from pipeline.params.encoders import Encoder
from pipeline.params.fields import Component
from pipeline.params.root import Run
from pipeline.recipes.stage_recipes import encoder_recipe
from tests.base_models.test_shared_training import TASKS, bytes_of, rows_of_tasks, run, settings_of, workspace
from tests.small import TEXTS, encoder

PRIVATE = {"name": "shared_private", "adapter_size": 4}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Return the folder of a small encoder that counts as pre-trained."""
    folder: Path = tmp_path_factory.mktemp("checkpoint")
    parts = encoder().source.build(texts=TEXTS, max_length=16, seed=0)
    parts.model.save_pretrained(folder)
    parts.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch, checkpoint) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(checkpoint, "models/small")


def pretrained(**training: Any) -> Encoder:
    given = {"epochs": 1, "sharing": "hard", **training}
    source = Component(kind="encoders", name="pretrained", options={"path": "models/small"})
    return settings_of(**given).model_copy(update={"source": source})


def recipe_of(settings: Encoder) -> dict[str, Any]:
    params: Any = SimpleNamespace(encoders={"bert": settings}, tasks={}, run=SimpleNamespace(budget_hours=None))
    return encoder_recipe(params, "bert")


def counts(name: str) -> tuple[int, int]:
    record = json.loads(Path(f".stitchfold/last_run/{name}.json").read_text(encoding="utf-8"))
    return record["computed"], record["reused"]


def notes() -> dict[str, dict[str, Any]]:
    """Return what the units of training depend on, by their keys."""
    found = {path.parent.name: json.loads(path.read_text()) for path in Path(".stitchfold/units").glob("*/unit.json")}
    return {key: note for key, note in found.items() if note["step"] == "finetune"}


def test_each_training_has_units_of_its_own_from_models_of_the_same_fold() -> None:
    """To train further trains nothing before it again; what a task learns first is what an encoder of one task learns.

    Each begins at models that learnt from the very rows that it learns from (leak rule: the same fold).
    """
    shared = pretrained(average_first={"epochs": 2})
    further = pretrained(average_first={"epochs": 2}, further={"learning_rate": 1e-4})
    run(settings=shared, recipe=recipe_of(shared))
    assert (counts("finetune-alone-bert"), counts("finetune-bert")) == ((4, 0), (2, 0))
    run(settings=further, recipe=recipe_of(further))
    names = ("finetune-alone-bert", "finetune-shared-bert", "finetune-bert")
    assert [counts(name) for name in names] == [(0, 4), (0, 2), (4, 0)]
    alone = pretrained(epochs=2, sharing="separate")
    run(settings=alone, recipe=recipe_of(alone))
    assert counts("finetune-bert") == (0, 4)
    of_units = notes()
    starts = {key: note["starts"] for key, note in of_units.items() if "starts" in note}
    for key, note in of_units.items():
        rows = {task: part["rows"] for task, part in note["tasks"].items()} if "tasks" in note else {}
        if key in starts:
            assert [of_units[start]["rows"] for start in starts[key]] == list(rows.values())
        elif "start" in note:
            before, task = note["start"]
            assert of_units[before]["tasks"][task]["rows"] == note["rows"]
    assert len(starts) == 2 and sum("start" in note for note in of_units.values()) == 4


def test_steps_are_known_by_what_reaches_each_and_without_them_nothing_changes() -> None:
    plain, both = pretrained(), pretrained(average_first={}, further={})
    assert not {"average_first", "further"} & set(plain.model_dump()) and "steps" not in recipe_of(plain)
    assert list(plain.training_steps.values()) == [plain]
    base = recipe_of(both)
    assert recipe_of(pretrained(further={}))["steps"]["shared"] == recipe_of(plain)["train"]
    changes = {
        "further": {"further": {"epochs": 2}},
        "alone shared": {"average_first": {"epochs": 2}},
        "shared": {"task_weighting": "famo"},
        "alone shared further": {"weight_decay": 0.5},
    }
    for changed, options in changes.items():
        other = recipe_of(pretrained(**{"average_first": {}, "further": {}, **options}))
        assert [step for step in base["steps"] if base["steps"][step] != other["steps"][step]] == changed.split()
        assert base["train"] != other["train"]


def test_a_shared_encoder_begins_at_the_average_of_those_of_single_tasks() -> None:
    """Layers that begin anew do so once, before the average."""
    settings = pretrained(average_first={}, reinit_layers=1)
    tasks, folders = rows_of_tasks(settings), []
    for task, part in tasks.items():
        home = workspace(task)
        by_itself = settings.training_steps["alone"]
        assert by_itself.reinit_layers == 1 and not by_itself.shares
        train_fold(
            home, rows=part.rows, n_outputs=2, settings=by_itself, scorer=None, seed=part.seed, labels=["0", "1"]
        )
        folders.append(home.result)
    first, second = (load_file(folder / WEIGHTS) for folder in folders)
    of_step = settings.training_steps["shared"]
    trainee, _ = build_shared_trainee(tasks, settings=of_step, seed=1, starts=folders)
    [backbone] = trainee.model.backbones  # type: ignore[union-attr]
    for name, tensor in backbone.state_dict().items():
        expected = torch.stack([first[f"backbone.{name}"], second[f"backbone.{name}"]]).mean(dim=0)
        torch.testing.assert_close(tensor, expected, rtol=0, atol=0)
    assert not torch.equal(
        first["backbone.embeddings.word_embeddings.weight"], second["backbone.embeddings.word_embeddings.weight"]
    )


def test_every_training_spares_the_rows_that_choose_an_epoch() -> None:
    """What one had learnt from could choose no epoch of the next, nor serve the heads of `head_rows: held_out`."""
    settings = pretrained(average_first={}, further={}, epoch_selection="inner", inner_ratio=0.4)
    tasks, steps, start = rows_of_tasks(settings), settings.training_steps, Path("start")
    _, learners = build_shared_trainee(tasks, settings=steps["shared"], seed=1)
    start.mkdir()
    learners["animal"].save(start)
    (start / HISTORY).write_text('{"task_weights": []}')
    part = tasks["animal"]
    arguments: dict[str, Any] = {"rows": part.rows, "seed": part.seed, "n_outputs": 2, "scorer": None}
    alone = build_trainee(settings=steps["alone"], **arguments).objective
    further = build_further(settings=steps["further"], start=start, **arguments).objective
    shared = learners["animal"].labelled
    assert len(shared.lengths) < len(part.rows)
    for other in (alone, further):
        assert [texts_of(other, row) for row in range(len(shared.lengths))] == [
            texts_of(shared, row) for row in range(len(shared.lengths))
        ]


def texts_of(objective: Any, row: int) -> list[int]:
    ids: list[int] = objective.batch(np.array([row]), 0)["input_ids"][0].tolist()
    return ids


def test_F1_I1_a_task_trained_further_begins_where_it_was_left_and_goes_on_after_a_kill_in_the_same_bytes() -> None:
    """Killed and begun again, the further training of a task leaves the same files as one that was left alone.

    The source is one whose words are learnt from the texts of all tasks: a task by itself must not learn others.
    """
    settings = encoder(
        {"epochs": 1, "sharing": PRIVATE, "further": {"epochs": 2}, "checkpoint_seconds": 1e-9, "dropout_samples": 2}
    )
    tasks, home = rows_of_tasks(settings), workspace("shared")
    train_shared(home, tasks=tasks, settings=settings.training_steps["shared"], seed=1)
    start, part = home.result / TASKS[1], tasks[TASKS[1]]
    of_step = settings.training_steps["further"]
    arguments: dict[str, Any] = {"start": start, "settings": of_step, "scorer": None, "n_outputs": 2}
    arguments |= {"rows": part.rows, "seed": part.seed, "labels": ["0", "1"]}
    model = build_further(**arguments).model
    left = load_file(start / WEIGHTS)
    assert all(torch.equal(tensor, left[name]) for name, tensor in model.state_dict().items())

    def train(home: Any) -> dict[str, Any]:
        train_further(home, **arguments)
        return bytes_of(home)

    with pytest.raises(KeyboardInterrupt):
        train(workspace("killed", kill_at=4))
    resumed, whole = train(workspace("killed")), train(workspace("whole"))
    assert resumed == whole and whole["histories"][0]["task_weights"]
    assert (
        whole["readout.json"] == (start / "readout.json").read_bytes()
        and whole[WEIGHTS] != (start / WEIGHTS).read_bytes()
    )


def test_a_forecast_counts_the_units_of_each_training() -> None:
    settings = pretrained(average_first={}, further={})
    places = [(task, 0, fold) for task in TASKS for fold in range(3)]
    needs = encoder_needs("bert", settings, places, run=Run(device="cpu"), seed=0, recipe={})
    assert [(need.name, need.n_open) for need in needs] == [
        ("bert, alone", 6),
        ("bert, shared", 3),
        ("bert, further", 6),
    ]
    assert len({need.kept for need in needs}) == 1  # each leaves a model of each task
